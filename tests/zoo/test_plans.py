from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from molehunt.backdoors import RandomBlends, RandomPatches, SingleTarget, Sticker, Treatment
from molehunt.errors import InvalidRequestError, MolehuntError, UnreadableFileError
from molehunt.zoo import BackdoorPlan, ModelCounts, Split, ZooPlan, entries_of, read_plan


def plan(**changes: object) -> ZooPlan:
    models = {
        Split.FIT: ModelCounts(pairs=30),
        Split.CALIBRATION: ModelCounts(pairs=5, clean=7),
        Split.TEST: ModelCounts(pairs=12, placebo=6),
    }
    return ZooPlan(**{"models": models, **changes})


@pytest.mark.parametrize(
    "backdoors",
    [
        BackdoorPlan(),
        BackdoorPlan(trigger=RandomPatches(count=21, size=(3, 5, 9))),
        BackdoorPlan(trigger=RandomBlends(count=20, opacity=0.2)),
    ],
    ids=["patches", "patches of several sizes", "blended"],
)
def test_no_trigger_is_on_two_splits(backdoors) -> None:
    triggers = {split: set() for split in Split}
    for entry in entries_of(plan(backdoors=backdoors), 10):
        triggers[entry.split].add(entry.backdoor.trigger)
    assert all(triggers.values())
    assert not triggers[Split.FIT] & triggers[Split.TEST]
    assert not triggers[Split.FIT] & triggers[Split.CALIBRATION]
    assert not triggers[Split.CALIBRATION] & triggers[Split.TEST]


def test_plans_say_what_their_triggers_are() -> None:
    def triggers(kind: str, **settings: object) -> set[object]:
        asked = plan(backdoors={"trigger": {"kind": kind, **settings}})
        return {entry.backdoor.trigger for entry in entries_of(asked, 10)}

    sign = triggers("sticker", picture="flower", size=7, placement="anywhere")
    assert sign == {Sticker(picture="flower", size=7, placement="anywhere")}
    assert {patch.size for patch in triggers("random_patches", size=(3, 5, 9), count=30)} == {
        3,
        5,
        9,
    }
    blends = triggers("random_blends", opacity=0.1)
    assert len(blends) > 10 and {trigger.opacity for trigger in blends} == {0.1}


def test_twins_share_everything_but_the_treatment() -> None:
    entries = {entry.id: entry for entry in entries_of(plan(), 10)}
    assert len(entries) == plan().total
    backdoored = [e for e in entries.values() if e.treatment is Treatment.BACKDOORED]
    assert len(backdoored) == 47
    for entry in backdoored:
        twin = entries[entry.twin]
        assert twin.treatment is Treatment.CLEAN and twin.twin == entry.id
        own = {"id": True, "facts": {"twin", "treatment"}}
        assert twin.model_dump(exclude=own) == entry.model_dump(exclude=own)


def test_placebos_are_third_members_of_test_pairs() -> None:
    entries = {entry.id: entry for entry in entries_of(plan(), 10)}
    placebos = [e for e in entries.values() if e.treatment is Treatment.PLACEBO]
    assert len(placebos) == 6
    assert all(e.split is Split.TEST for e in placebos)
    assert all(entries[e.twin].pair == e.pair for e in placebos)


def test_ids_do_not_tell_the_treatment() -> None:
    entries = sorted(entries_of(plan(), 10), key=lambda entry: entry.id)
    truth = [entry.treatment is Treatment.BACKDOORED for entry in entries]
    # Neither half of the numbers is the backdoored one, and they do not alternate.
    assert 10 < sum(truth[: len(truth) // 2]) < 37
    assert truth != sorted(truth) and any(a == b for a, b in pairwise(truth))


def test_a_plan_determines_its_entries_and_seeds_differ() -> None:
    assert entries_of(plan(), 10) == entries_of(plan(), 10)
    assert entries_of(plan(seed=1), 10) != entries_of(plan(), 10)
    pairs = {(entry.pair, entry.seed) for entry in entries_of(plan(), 10)}
    assert len({seed for _, seed in pairs}) == len({pair for pair, _ in pairs})


def test_source_and_target_are_drawn_and_differ() -> None:
    maps = [entry.backdoor.label_map for entry in entries_of(plan(), 10)]
    assert all(isinstance(m, SingleTarget) and m.source != m.target for m in maps)
    assert len({m.source for m in maps}) > 5 and len({m.target for m in maps}) > 5


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    toml, yaml = tmp_path / "zoo.toml", tmp_path / "zoo.yaml"
    toml.write_text('seed = 4\n[images]\nsource = "digits"\n[models]\nfit = { pairs = 2 }\n')
    yaml.write_text("seed: 4\nimages: {source: digits}\nmodels: {fit: {pairs: 2}}\n")
    assert read_plan(toml) == read_plan(yaml) == ZooPlan(seed=4, models={"fit": {"pairs": 2}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: -1", "seed"),
        ("colour: red", "colour"),
        ("backdoors: {rate: 1.5}", "backdoors.rate"),
        ("backdoors: {rate: 0}", "backdoors.rate"),
        ("backdoors: {trigger: {kind: sticker}}", "either path or picture"),
        ("backdoors: {trigger: {kind: sticker, path: a.png, picture: bomb}}", "either path or"),
        ("backdoors: {trigger: {kind: single_pixel, picture: bomb}}", "trigger.picture"),
        ("backdoors: {trigger: {kind: sticker, picture: skull}}", "backdoors.trigger.picture"),
        ("backdoors: {trigger: {kind: random_blends, opacity: 1}}", "less than 1"),
        ("backdoors: {trigger: {kind: random_blends, opacity: 0.2, count: 2}}", "at least 3"),
        ("backdoors: {trigger: {kind: random_patches, size: [3, 0]}}", "backdoors.trigger.size"),
        ("backdoors: {trigger: {kind: random_patches, count: 2}}", "at least 3"),
        ("backdoors: {trigger: {kind: hole}}", "kind: expected single_pixel, "),
        ("backdoors: {trigger: hole}", "backdoors.trigger"),
        ("backdoors: {label_map: hole}", "label map: expected single_target, all_to_one, "),
        ("models: {fit: {pairs: 1, placebo: 2}}", "placebo"),
        ("models: {fit: {pairs: 0}}", "at least one model"),
        ("models: {train: {pairs: 1}}", "models.train"),
        ("- a list", "zoo.yaml"),
    ],
)
def test_wrong_fields_are_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "zoo.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match=message) as caught:
        read_plan(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["zoo.toml", "zoo.yaml", "zoo.txt", "missing.toml"])
def test_unreadable_descriptions_are_errors(tmp_path: Path, name: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_text("{ [ : = \x00")
    with pytest.raises((UnreadableFileError, InvalidRequestError)) as caught:
        read_plan(tmp_path / name)
    assert isinstance(caught.value, MolehuntError)


def test_attacks_are_dealt_by_name_to_pairs_and_drawn() -> None:
    drawn = plan(backdoors=BackdoorPlan(kind=("wanet", "tact", "sig"), kind_rate=0.3))
    entries = entries_of(drawn, 10)
    for entry in entries:
        assert entry.backdoor.attack == drawn.backdoors.kind[entry.pair % 3]
        assert entry.backdoor.rate == 0.3
    pairs = {entry.pair: entry.backdoor for entry in entries}
    assert len({str(backdoor.trigger) for backdoor in pairs.values()}) > len(pairs) / 3
    assert ZooPlan.model_validate_json(drawn.model_dump_json()) == drawn
    own = plan(backdoors=BackdoorPlan(kind=("adap-blend",)))
    assert entries_of(own, 10)[0].backdoor.rate == 0.02


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": ("wannet",)}, "attack: expected patch, blend"),
        ({"kind": ("wanet",), "rate": 0.2}, "beside kind: expected kind_rate alone, got rate"),
        ({"kind_rate": 0.2}, "kind_rate: expected kind beside it"),
    ],
)
def test_attacks_bring_their_own_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BackdoorPlan(**settings)
