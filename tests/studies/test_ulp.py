from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from molehunt.backdoors import SingleTarget, Treatment
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.study import StudyResult, plan_for, run
from molehunt.zoo import Split, Zoo, ZooPlan, entries_of
from molehunt_studies.ulp import ULP_CIFAR10, ULP_GTSRB, ULP_MNIST
from molehunt_studies.ulp.fits import ABLATIONS, FitRecord, ScoreRecord, fit_tasks, score_tasks
from molehunt_studies.ulp.results import UlpRecords, results_of

# One process: the study is run once for all of them.
SETS = {"mnist": ULP_MNIST, "cifar10": ULP_CIFAR10, "gtsrb": ULP_GTSRB}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("ulp")
    return run(ULP_MNIST, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_the_results_have_the_whole_table(study: StudyResult) -> None:
    found = json.loads((study.report.parent / "results.json").read_text())["mnist"]
    for name in ("litmus", "noise"):
        assert set(found[name]["auc"]) == {"1", "5", "10"}
    aucs = [found["baseline"], found["neural_cleanse"], found["statistics"]]
    aucs += [found["controls"][name] for name in ("shuffled", "placebo")]
    aucs += found["ablations"].values()
    for item in aucs:
        assert 0 <= item["interval"][0] <= item["auc"] <= item["interval"][1] <= 1
    assert set(found["ablations"]) == set(ABLATIONS)
    assert {"litmus-10", "baseline", "neural_cleanse"} <= set(found["seconds_per_model"])
    assert [*found["poison"]] == ["50", "25"]
    # Weight statistics are of one architecture, patterns are not.
    assert found["carries"]["width-6"]["detectors"]["statistics"] is None
    assert found["carries"]["width-6"]["detectors"]["litmus"] is not None


def test_the_report_has_its_tables_and_pictures(study: StudyResult) -> None:
    assert "<svg" in study.report.read_text()
    docs = study.report.parent / "docs"
    text = (docs / "README.md").read_text()
    assert "MNIST, paper | 0.94 | 0.90 | 0.86 | 0.94 | 0.94 | 0.99 | 1.00" in text
    for name in ("roc", "curve", "poison-mnist", "carries-mnist", "patterns-mnist"):
        assert f"({name}.png)" in text
        assert (docs / f"{name}.png").stat().st_size > 1000


def test_a_second_run_does_nothing_again_and_keeps_other_sets(study: StudyResult) -> None:
    folder = study.report.parent
    before = [(folder / name).read_bytes() for name in ("fits.jsonl", "scores.jsonl")]
    stored = json.loads((folder / "docs" / "results.json").read_text())
    (folder / "docs" / "results.json").write_text(json.dumps({**stored, "gtsrb": stored["mnist"]}))
    again = run(ULP_MNIST, folder, scale="smoke", workers=1, docs=folder / "docs")
    assert [(folder / name).read_bytes() for name in ("fits.jsonl", "scores.jsonl")] == before
    assert again.figures == study.figures
    assert [*json.loads((folder / "docs" / "results.json").read_text())] == ["mnist", "gtsrb"]
    assert "GTSRB, paper | 0.61" in (folder / "docs" / "README.md").read_text()


def test_the_table_alone_is_a_part_of_the_whole(study: StudyResult) -> None:
    folder = study.report.parent
    settings = ["table_only=true", "searches=none"]
    found = run(ULP_MNIST, folder, scale="smoke", settings=settings, workers=1).figures
    assert "baseline" not in found and "--set searches=none" in found["command"]
    assert found["poison"] == found["carries"] == {}
    assert found["litmus"] == study.figures["litmus"]


def test_results_of_other_settings_are_refused(study: StudyResult, tmp_path: Path) -> None:
    shutil.copytree(study.report.parent, tmp_path / "run")
    index = tmp_path / "run" / "examinations.jsonl"
    stored = index.read_text().replace('"steps":8', '"steps":9')
    index.write_text(stored)
    with pytest.raises(InvalidRequestError, match=r"settings of base/pairwise/.*'steps': 8") as got:
        run(ULP_MNIST, tmp_path / "run", scale="smoke", workers=1)
    assert "'steps': 9" in str(got.value)
    assert index.read_text() == stored


def test_foreign_results_are_refused_before_the_work(study: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"other": 1}')
    with pytest.raises(UnreadableFileError, match="mnist, cifar10, gtsrb"):
        run(ULP_MNIST, tmp_path / "run", scale="smoke", docs=tmp_path)
    assert not (tmp_path / "run" / "zoos").exists()


@pytest.mark.parametrize("scale", ["quick", "full"])
@pytest.mark.parametrize("name", SETS)
def test_plans_keep_triggers_and_twins_apart(name: str, scale: str) -> None:
    plan = plan_for(SETS[name], scale)
    classes = 43 if name == "gtsrb" else 10
    entries = entries_of(plan.base, classes)
    of = {
        split: {entry.backdoor.trigger for entry in entries if entry.split is split}
        for split in (Split.FIT, Split.TEST)
    }
    assert not of[Split.FIT] & of[Split.TEST]
    backdoored = [entry for entry in entries if entry.treatment is Treatment.BACKDOORED]
    maps = [entry.backdoor.label_map for entry in backdoored]
    assert all(isinstance(label_map, SingleTarget) for label_map in maps)
    if name == "gtsrb":
        assert len(set(maps)) == len(maps)  # source→target pairs are disjoint too
    else:
        counts = [maps.count(label_map) for label_map in set(maps)]
        assert max(counts) - min(counts) <= 1 and len(counts) == 90
    # Nothing that a variant is tested on is drawn as the base is.
    seeds = [zoo.seed for zoo in plan.zoos.values()]
    others = [zoo.seed for zoo in plan_for(SETS[name], scale, ["draw=1"]).zoos.values()]
    assert len({*seeds, *others}) == 2 * len(seeds)


def test_another_draw_is_not_mixed_with_the_first(study: StudyResult) -> None:
    with pytest.raises(InvalidRequestError, match="holds another plan"):
        run(ULP_MNIST, study.report.parent, scale="smoke", settings=["draw=1"], workers=1)


def test_another_draw_is_reported_beside_the_first(study: StudyResult, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    with pytest.raises(InvalidRequestError, match="draw 0 of mnist at scale smoke"):
        run(ULP_MNIST, tmp_path / "run", scale="smoke", settings=["draw=1"], docs=docs)
    assert not docs.exists()
    shutil.copytree(study.report.parent / "docs", docs)
    first = json.loads((docs / "results.json").read_text())["mnist"]
    picture = (docs / "patterns-mnist.png").read_bytes()
    other = run(
        ULP_MNIST,
        tmp_path / "run",
        scale="smoke",
        settings=["draw=1", "table_only=true", "searches=none"],
        workers=1,
        docs=docs,
    ).figures
    found = json.loads((docs / "results.json").read_text())["mnist"]
    assert found["draws"]["1"]["litmus"] == json.loads(json.dumps(other["litmus"]))
    assert other["zoo"]["seed"] != first["zoo"]["seed"]
    assert {**found, "draws": {}} == first
    assert (docs / "patterns-mnist.png").read_bytes() == picture
    text = (docs / "README.md").read_text()
    assert "| MNIST, draw 0 |" in text and "| MNIST, draw 1 |" in text
    assert other["command"] in text and "## MNIST: poison ratio (Figure 4)" in text
    # The first one again keeps what was reported beside it, but not beside another scale.
    run(ULP_MNIST, study.report.parent, scale="smoke", workers=1, docs=docs)
    assert json.loads((docs / "results.json").read_text())["mnist"] == found
    (docs / "results.json").write_text(json.dumps({"mnist": {**found, "scale": "quick"}}))
    run(ULP_MNIST, study.report.parent, scale="smoke", workers=1, docs=docs)
    assert json.loads((docs / "results.json").read_text())["mnist"] == first


def test_full_scale_is_the_papers() -> None:
    pairs = {
        name: sum(counts.pairs for counts in plan_for(SETS[name], "full").base.models.values())
        for name in SETS
    }
    assert pairs == {"mnist": 900, "cifar10": 500, "gtsrb": 1000}
    ratios = {name: {100 * zoo.backdoors.rate for zoo in _poisoned(name)} for name in SETS}
    assert all({50, 25, 12, 5, 1} <= found for found in ratios.values())


def _poisoned(name: str) -> list[ZooPlan]:
    plan = plan_for(SETS[name], "full")
    return [plan.base, *plan.rates.values()]


def figures_of(zoos: dict[str, Zoo], backdoored: list[float]) -> dict[str, Any]:
    """Figures when every detector gives these scores."""
    plan = plan_for(ULP_MNIST, "smoke")
    fits = [
        FitRecord(**dict(task), models=8, calibration=[-1.0] * 19, fit_seconds=1)
        for task in fit_tasks(plan)
    ]
    scores = [
        ScoreRecord(
            **dict(task),
            clean=[0.0, 0.1],
            backdoored=backdoored,
            placebo=[0.05],
            seconds_per_model=0.01,
        )
        for task in score_tasks(plan)
    ]
    return results_of(plan, zoos, UlpRecords.of(fits, scores, []))


@pytest.fixture
def zoos(study: StudyResult) -> dict[str, Zoo]:
    names = plan_for(ULP_MNIST, "smoke").zoos
    return {name: Zoo(study.report.parent / "zoos" / name) for name in names}


def test_figures_follow_from_scores(zoos: dict[str, Zoo]) -> None:
    found = figures_of(zoos, [0.9, 1.0])
    assert found["litmus"]["auc"] == {"1": 1.0, "5": 1.0, "10": 1.0}
    assert found["controls"]["placebo"]["auc"] == 0.5
    assert found["litmus"]["detection_rate"]["10"] == 1.0
    assert found["zoo"]["test_models"] == 4
    assert "baseline" not in found


def test_backdoors_that_do_not_work_are_told_apart(zoos: dict[str, Zoo], tmp_path: Path) -> None:
    base = zoos["base"]
    fails = base.select(Split.TEST, Treatment.BACKDOORED)[0].id
    lines = []
    for record in base.records:
        success = 0.2 if record.id == fails else 1.0
        measured = {"attack_success": success, "clean_accuracy": 1.0}
        lines.append(record.model_copy(update=measured).model_dump_json() + "\n")
    shutil.copytree(base.folder, tmp_path / "base")
    (tmp_path / "base" / "index.jsonl").write_text("".join(lines))
    found = figures_of({**zoos, "base": Zoo(tmp_path / "base")}, [-1.0, 1.0])
    assert found["litmus"]["auc"]["10"] == 0.5
    assert found["over_the_bar"]["backdoored"] == 1
    assert found["over_the_bar"]["detectors"]["litmus"]["auc"] == 1.0


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="smoke, quick, full"):
        run(ULP_MNIST, tmp_path, scale="huge")
    with pytest.raises(InvalidRequestError, match="pairwise, neural-cleanse"):
        run(ULP_MNIST, tmp_path, scale="smoke", settings=["searches=margin"])
    with pytest.raises(InvalidRequestError, match="draw: expected 0 or more"):
        run(ULP_MNIST, tmp_path, scale="smoke", settings=["draw=-1"])
