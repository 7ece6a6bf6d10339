from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.errors import InvalidRequestError
from molehunt.study import StudyResult, run
from molehunt.zoo import Split
from molehunt_studies.scanners import SCANNERS
from molehunt_studies.scanners.study import DETECTORS

# One process: the study is run once for all of them.


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("scanners")
    return run(SCANNERS, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_every_detector_has_its_figures_on_every_zoo(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    assert set(figures["detectors"]) == set(SCANNERS.scales["smoke"].zoos)
    for zoo in figures["detectors"].values():
        assert set(zoo) == {*DETECTORS, "together"}
        for name in DETECTORS:
            found = zoo[name]
            assert found["models"] == {"clean": 2, "backdoored": 2, "reference": 2}
            assert 0 <= found["interval"][0] <= found["auc"] <= found["interval"][1] <= 1
            assert ("own_null" in found) == (name != "pairwise")
            assert found["seconds_per_model"] > 0
    # Backdoors of all classes are plain to see in these networks.
    assert figures["detectors"]["digits-all-to-one"]["pairwise"]["auc"] == 1.0
    assert figures["litmus"].keys() == figures["detectors"].keys()


def test_the_report_has_its_tables_and_figures(study: StudyResult) -> None:
    page = study.report.read_text()
    assert "<svg" in page and "neural-cleanse" in page
    docs = study.report.parent / "docs"
    lines = (docs / "README.md").read_text().splitlines()
    assert sum(line.startswith("| ---") for line in lines) == 4
    assert (docs / "auc.png").stat().st_size > 1000


def test_a_second_run_examines_nothing_again(study: StudyResult) -> None:
    folder = study.report.parent
    indices = [folder / name for name in ("examinations.jsonl", "litmus.jsonl")]
    before = [index.read_bytes() for index in indices]
    again = run(SCANNERS, folder, scale="smoke", workers=1)
    assert [index.read_bytes() for index in indices] == before
    assert again.made == 0 < study.made
    assert again.figures["detectors"] == study.figures["detectors"]


def test_full_scale_holds_out_enough_models() -> None:
    for plan in SCANNERS.scales["full"].zoos.values():
        assert plan.models[Split.TEST].pairs >= 40


def test_impossible_requests_are_refused(tmp_path: Path, study: StudyResult) -> None:
    with pytest.raises(InvalidRequestError, match="smoke, quick, full"):
        run(SCANNERS, tmp_path, scale="huge")
    with pytest.raises(InvalidRequestError, match="modelaudit"):
        run(
            SCANNERS,
            study.report.parent,
            scale="smoke",
            workers=1,
            settings=[f"modelaudit={tmp_path / 'nothing'}"],
        )
