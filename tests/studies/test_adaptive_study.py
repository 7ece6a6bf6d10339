from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.adaptive import ADAPTIVE


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("adaptive")
    return run(ADAPTIVE, folder, scale="trial", workers=1, docs=folder / "docs")


def test_a_detector_that_is_known_calls_evading_models_clean(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    assert [row["evaded"] for row in figures["rows"]] == [
        "nothing",
        "litmus",
        "statistics",
        "litmus + statistics",
        "litmus, taught",
    ]
    for row in figures["rows"][1:]:
        assert [*row["detectors"]] == figures["detectors"]
        # However little is trained here: the loss that evades works on what it evades.
        for known in row["evaded"].split(" + "):
            assert row["detectors"][known]["auc"] < 0.5, row


def test_the_page_has_its_tables_and_a_second_run_makes_nothing(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    assert (docs / "README.md").read_text().count("| --- |") == 2
    assert (docs / "curve.png").stat().st_size > 1000
    assert run(ADAPTIVE, Path(study.report.parent), scale="trial", workers=1).made == 0
