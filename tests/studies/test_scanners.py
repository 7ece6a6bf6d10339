from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from molehunt.errors import InvalidRequestError
from molehunt.studies import StudyResult, run_scanners
from molehunt.studies.scanners._plan import SCALES, plans_of
from molehunt.studies.scanners._study import DETECTORS
from molehunt.zoo import Split

# One process: the study is run once for all of them.
pytestmark = pytest.mark.xdist_group("scanners")


@contextmanager
def silent(_title: str):
    yield lambda _done, _total: None


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("scanners")
    return run_scanners(folder, scale="smoke", workers=1, docs=folder / "docs", progress=silent)


def test_every_detector_has_its_figures_on_every_zoo(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    assert set(figures["detectors"]) == set(SCALES["smoke"])
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
    before = (folder / "examinations.jsonl").read_bytes()
    again = run_scanners(folder, scale="smoke", workers=1, progress=silent)
    assert (folder / "examinations.jsonl").read_bytes() == before
    assert again.figures["detectors"] == study.figures["detectors"]


def test_full_scale_holds_out_enough_models() -> None:
    for plan in plans_of("full").values():
        assert plan.models[Split.TEST].pairs >= 40


def test_impossible_requests_are_refused(tmp_path: Path, study: StudyResult) -> None:
    with pytest.raises(InvalidRequestError, match="smoke, quick, full"):
        run_scanners(tmp_path, scale="huge", progress=silent)
    with pytest.raises(InvalidRequestError, match="modelaudit"):
        run_scanners(
            study.report.parent,
            scale="smoke",
            workers=1,
            modelaudit=tmp_path / "nothing",
            progress=silent,
        )
