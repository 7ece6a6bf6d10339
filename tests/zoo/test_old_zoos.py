"""Zoos and plans as Molehunt wrote them in November 2026 are read, fitted on and gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from molehunt.backdoors import AllToAll, Backdoor, RandomPatch, RandomPatches, SingleTarget
from molehunt.detectors import WeightStatistics
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.training import Recipe
from molehunt.zoo import (
    BackdoorPlan,
    ImagePlan,
    ModelCounts,
    NetworkPlan,
    Record,
    Split,
    Zoo,
    ZooPlan,
    build_zoo,
    entries_of,
)

GOLDEN = Path(__file__).parent / "golden" / "2026-11"
PLANS = [
    json.loads(line) for line in (GOLDEN.parent / "plans-2026-11.jsonl").read_text().splitlines()
]
PLAN = ZooPlan(
    name="golden",
    seed=7,
    images=ImagePlan(size=8),
    network=NetworkPlan(name="vgg", arguments={"width": 2, "stages": [1], "hidden": 8}),
    recipe=Recipe(epochs=6, batch_size=64),
    backdoors=BackdoorPlan(trigger=RandomPatches(size=3, count=2, margin=1), rate=0.8, times=2),
    models={Split.FIT: ModelCounts(pairs=1), Split.CALIBRATION: ModelCounts(pairs=1)},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN, tmp_path / "zoo")
    return tmp_path / "zoo"


def test_an_old_zoo_is_what_it_was(folder: Path) -> None:
    zoo = Zoo(folder)
    assert zoo.plan == PLAN
    assert [record.id for record in zoo.records] == ["m0000", "m0001", "m0002", "m0003"]
    first = zoo.records[0]
    assert (first.treatment, first.twin, first.split) == ("backdoored", "m0002", "fit")
    assert first.backdoor == Backdoor(
        trigger=RandomPatch(size=3, seed=976413892, margin=1),
        label_map=SingleTarget(source=8, target=7),
        rate=0.8,
        of="eligible",
        times=2,
    )
    assert first.attack_success == 1.0 and not zoo.changed()


def test_a_detector_is_fitted_on_an_old_zoo(folder: Path) -> None:
    models, truth = Zoo(folder).labelled(Split.FIT)
    detector = WeightStatistics().fit(models, truth)
    assert detector.decision_function(Zoo(folder).labelled(Split.CALIBRATION)[0]).shape == (2,)


def test_an_old_build_goes_on(folder: Path) -> None:
    index = folder / "index.jsonl"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:-1]))
    built: list[tuple[int, int]] = []
    zoo = build_zoo(PLAN, folder, workers=1, progress=lambda *at: built.append(at))
    assert built == [(4, 4)]
    old = json.loads(lines[-1])
    (again,) = [record for record in zoo.records if record.id == old["id"]]
    # Of another processor the weights may differ in their last bits.
    assert again.clean_accuracy == pytest.approx(old["clean_accuracy"], abs=0.05)
    assert (again.images, again.steps) == (old["images"], old["steps"])
    assert len(zoo.records) == PLAN.total and not zoo.changed()
    assert index.read_text().splitlines(keepends=True)[:-1] == lines[:-1]


def test_an_old_build_does_not_go_on_with_another_plan(folder: Path) -> None:
    other = PLAN.backdoors.model_copy(update={"rate": 0.5})
    with pytest.raises(InvalidRequestError, match="differs in backdoors"):
        build_zoo(PLAN.model_copy(update={"backdoors": other}), folder, workers=1)


@pytest.mark.parametrize("lost", ["backdoor", "treatment", "twin"])
def test_an_old_line_that_lacks_something_is_named(folder: Path, lost: str) -> None:
    index = folder / "index.jsonl"
    content = json.loads(index.read_text().splitlines()[0])
    del content[lost]
    index.write_text(json.dumps(content) + "\n")
    with pytest.raises(UnreadableFileError, match="line 1: ") as caught:
        Zoo(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stored", PLANS, ids=lambda stored: stored["plan"]["name"])
def test_an_old_plan_draws_the_models_that_it_drew(stored: dict) -> None:
    plan = ZooPlan.model_validate(stored["plan"])
    assert ZooPlan.model_validate_json(plan.model_dump_json()) == plan
    measured = {"clean_accuracy": 1, "images": 1, "steps": 1, "seconds": 1, "sha256": ""}
    old = [
        Record.model_validate_json(
            json.dumps({**entry, **measured}), context=plan.backdoors.poisoning
        )
        for entry in stored["entries"]
    ]
    entries = entries_of(plan, 10)
    assert [dict(entry) for entry in entries] == [
        {name: value for name, value in record if name in dict(entries[0])} for record in old
    ]


def test_a_plan_that_is_older_than_a_field_is_read() -> None:
    stored = dict(PLANS[0]["plan"]["backdoors"])
    for added in ("sizes", "picture"):
        del stored[added]
    assert BackdoorPlan.model_validate(stored) == BackdoorPlan()
    assert BackdoorPlan.model_validate({"count": 9}).trigger == RandomPatches(count=9)


def test_the_old_and_the_new_form_do_not_mix() -> None:
    mixed = {"trigger": {"kind": "random_patches"}, "size": 3}
    with pytest.raises(ValueError, match="Extra inputs"):
        BackdoorPlan.model_validate(mixed)


def test_old_backdoors_that_are_no_line_of_a_zoo_keep_their_defaults() -> None:
    old = {"trigger": {"kind": "blended", "alpha": 0.3}, "label_map": {"kind": "all_to_all"}}
    found = Backdoor.model_validate(old)
    assert found.trigger.opacity == 0.3 and found.label_map == AllToAll()
