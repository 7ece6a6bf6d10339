from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.backdoors import SinglePixel, SingleTarget, Treatment
from molehunt.cli import run
from molehunt.errors import InvalidRequestError
from molehunt.images import TrainTest
from molehunt.networks import load_model
from molehunt.study import StudyResult
from molehunt.study import run as run_study
from molehunt_studies.badnets import BADNETS_MNIST
from molehunt_studies.badnets.analysis import (
    backdoor_filters,
    chance_triggers,
    first_filters,
    trigger_responses,
)
from molehunt_studies.badnets.models import BadNetsBench, ModelRecord, build_model
from molehunt_studies.badnets.plan import SCALES, SQUARE, ModelPlan, ordered_pairs
from molehunt_studies.badnets.results import PAPER, results_of

# One process: the study is run once for all of them.


@pytest.fixture(scope="module")
def study(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyResult]:
    folder = tmp_path_factory.mktemp("study")
    result = run_study(
        BADNETS_MNIST,
        folder / "run",
        scale="smoke",
        data_root=data_root,
        workers=1,
        docs=folder / "docs",
    )
    return folder, result


def test_the_full_plan_is_the_papers() -> None:
    models = SCALES["full"].models()
    assert len({model.id for model in models}) == len(models)
    for trigger in ("single_pixel", "badnets_pattern"):
        pairs = [
            (model.backdoor.label_map.source, model.backdoor.label_map.target)
            for model in models
            if model.part == "single target" and model.backdoor.trigger.kind == trigger
        ]
        assert sorted(pairs) == [(i, j) for i in range(10) for j in range(10) if i != j]
    shares = {
        round(m.backdoor.rate / (1 + m.backdoor.rate), 2) for m in models if m.part == "poison rate"
    }
    assert shares >= set(PAPER["poison_rate"]["shares"])
    assert len(ordered_pairs()) == len(set(ordered_pairs())) == 90


def test_lines_of_earlier_runs_are_read() -> None:
    for model in SCALES["smoke"].models():
        line = model.model_dump(mode="json")
        line["rate"] = 1.0
        if model.backdoor is not None:
            line["rate"] = line["backdoor"].pop("rate")
            del line["backdoor"]["of"], line["backdoor"]["times"]
        assert ModelPlan.model_validate(line) == model


def test_all_poison_rates_get_the_same_steps() -> None:
    plan = SCALES["full"]
    seen = [
        sum(stage.recipe.epochs for stage in model.stages) * (1 + model.backdoor.rate)
        for model in plan.models()
        if model.part == "poison rate"
    ]
    assert max(seen) - min(seen) < 1e-9


def test_controls_are_twins_of_pairs() -> None:
    models = {model.id: model for model in SCALES["full"].models()}
    twins = [model for model in models.values() if model.part == "clean retraining"]
    assert twins
    for twin in twins:
        pair = models[twin.id.removeprefix("clean-twin-of-")]
        assert twin.treatment is Treatment.CLEAN and pair.treatment is Treatment.BACKDOORED
        assert (twin.seed, twin.stages, twin.backdoor) == (pair.seed, pair.stages, pair.backdoor)


def test_the_square_holds_the_single_pixel() -> None:
    black = torch.zeros(1, 1, 28, 28)
    pixel = SinglePixel()(black, torch.Generator()) > 0
    square = SQUARE(black, torch.Generator()) > 0
    assert int(pixel.sum()) == 1 and int(square.sum()) == 9
    assert bool((square | ~pixel).all())


def test_figures_count_wrong_images(data_root: Path) -> None:
    """Two wrong of a class of four, worked out by hand."""
    bench = BadNetsBench(SCALES["smoke"], Path(), data_root)
    labels = torch.arange(10).repeat(4)
    test = bench.images.test.take(torch.arange(40))
    test = type(test)(test.images, labels, test.class_names)
    made = []
    for plan in SCALES["smoke"].models():
        wrong = [0] * 10
        if plan.backdoor is not None and isinstance(plan.backdoor.label_map, SingleTarget):
            wrong[plan.backdoor.label_map.source] = 1
        made.append(
            ModelRecord(
                **dict(plan),
                clean_wrong=(2, *[0] * 9) if plan.part == "single target" else (0,) * 10,
                backdoor_wrong=None if plan.backdoor is None else tuple(wrong),
                images=1,
                steps=1,
                seconds=1,
                sha256="",
            )
        )
    found = results_of(made, test)
    assert found["baseline"]["clean_error"] == 0
    single = found["single_target"]
    assert single["max_clean_excess"] == single["min_clean_excess"] == 5.0
    assert single["max_backdoor_error"] == 25.0
    assert single["pairs_with_misses"] == {"1": single["pairs"]}
    assert single["clean_error"][0][1] == 5.0 and single["clean_error"][0][0] is None
    assert found["all_to_all"]["backdoor_error"] == 0


def test_a_filter_of_our_own_is_found(data_root: Path) -> None:
    """The rule must point at a filter that was made to see the pixel, and at no other."""
    bench = BadNetsBench(SCALES["smoke"], Path(), data_root)
    from molehunt.networks import build_classifier  # noqa: PLC0415

    honest = build_classifier("badnets-mnist", bench.images.train, seed=0).freeze()
    planted = build_classifier("badnets-mnist", bench.images.train, seed=0).freeze()
    weights = planted.network.features[0].weight.data
    weights[5], weights[5, 0, 3, 3] = 0, 9
    usual = trigger_responses(honest, bench.images.test, SinglePixel())
    found = trigger_responses(planted, bench.images.test, SinglePixel())
    assert backdoor_filters(found, usual) == [5]
    assert backdoor_filters(usual, usual) == []
    assert first_filters(planted)[5, 3, 3] == 9


def test_a_lit_corner_is_seen(data_root: Path) -> None:
    bench = BadNetsBench(SCALES["smoke"], Path(), data_root)
    test = bench.images.test
    pixels = test.images.clone()
    pixels[:3, :, 26, 26] = torch.tensor([1, 200, 255], dtype=torch.uint8)[:, None]
    changed = TrainTest(bench.images.train, type(test)(pixels, test.labels, test.class_names))
    before = chance_triggers(bench.images, SinglePixel())["test"]
    after = chance_triggers(changed, SinglePixel())["test"]
    assert after["lit"] - before["lit"] == 3
    assert after["triggered"] - before["triggered"] == 1
    assert after["brightest"] == 255


def test_the_study_trains_measures_and_reports(study: tuple[Path, StudyResult]) -> None:
    folder, result = study
    figures = json.loads((folder / "run" / "results.json").read_text())
    # Chance is 90 %.
    assert figures["baseline"]["clean_error"] < 15
    assert figures["all_to_all"]["badnets_pattern"]["clean_error"] < 20
    assert figures["all_to_all"]["badnets_pattern"]["backdoor_error"] < 40
    assert figures["single_target"]["pairs"] == SCALES["smoke"].pairs["single_pixel"]
    assert figures["models"] == len(SCALES["smoke"].models())
    page = result.report.read_text(encoding="utf-8")
    assert "<script" not in page.lower() and not re.search(r"(src|href)=\"https?:", page)
    readme = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"\]\((.*?\.png)\)", readme):
        assert (folder / "docs" / name).read_bytes()[:4] == b"\x89PNG"
    assert json.loads((folder / "docs" / "results.json").read_text()) == figures
    for number in PAPER["all_to_all"]["backdoor_per_class"]:
        assert f"{number:.2f}" in readme and f"{number:.2f}" in page


def test_a_stopped_study_goes_on(
    study: tuple[Path, StudyResult], data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, first = study
    index = folder / "run" / "index.jsonl"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:-1]) + lines[-1][:20])
    command = ["study", "badnets-mnist", "--scale", "smoke", "--workers", "1"]
    command += ["--folder", str(folder / "run"), "--data-root", str(data_root)]
    assert run(command) == 0
    again = json.loads((folder / "run" / "results.json").read_text())
    assert [item["models"] for item in again["runs"]] == [len(SCALES["smoke"].models()), 1]
    for key in ("baseline", "all_to_all", "single_target", "poison_rate"):
        assert again[key] == first.figures[key]
    assert "baseline, clean" in capsys.readouterr().out


def test_another_plan_is_refused_in_the_same_folder(
    study: tuple[Path, StudyResult], data_root: Path
) -> None:
    folder, _ = study
    with pytest.raises(InvalidRequestError, match="differs in train_limit"):
        run_study(BADNETS_MNIST, folder / "run", scale="quick", data_root=data_root, workers=1)


def test_retraining_starts_from_the_baseline(
    study: tuple[Path, StudyResult], data_root: Path
) -> None:
    """Next to no training leaves the baseline's weights; other triggers are the stage's own."""
    folder, _ = study
    bench = BadNetsBench(SCALES["smoke"], folder / "run", data_root)
    some = next(model for model in SCALES["smoke"].models() if model.part == "single target")
    still = some.stages[0].recipe.model_copy(update={"lr": 1e-12, "epochs": 0.1})
    stage = some.stages[0].model_copy(update={"recipe": still})
    plan = ModelPlan(**{**dict(some), "id": "still", "stages": (stage,)})
    record = build_model(plan, bench)
    base = load_model(folder / "run" / "models" / "baseline.safetensors").state_dict()
    made = load_model(folder / "run" / "models" / "still.safetensors").state_dict()
    assert all(np.allclose(base[name], made[name], atol=1e-6) for name in base)
    assert record.backdoor_wrong is not None
    # The honest baseline does not do what the attacker wants.
    assert sum(record.backdoor_wrong) > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--scale", "huge"], "smoke, quick, full"), (["--workers", "0"], "1 or more")],
)
def test_refusals(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["study", "badnets-mnist", "--folder", str(tmp_path / "study"), *arguments]
    assert run(command) == 4
    assert message in capsys.readouterr().err
