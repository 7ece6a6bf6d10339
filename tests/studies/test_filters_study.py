from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.filters import FILTERS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("filters")
    return run(FILTERS, folder, scale="trial", workers=1, docs=folder / "docs")


def test_every_defence_met_every_attack(study: StudyResult) -> None:
    plan = FILTERS.scales["trial"]
    models = json.loads((study.report.parent / "results.json").read_text())["models"]
    assert {model["attack"] for model in models.values()} == {*plan.attacks}
    for model in models.values():
        assert [*model["filters"]] == [*plan.filters] and [*model["repairs"]] == [*plan.repairs]
        for found in model["filters"].values():
            assert 0 <= found["recall"][0] <= found["recall"][1] > 50
            assert found["false_alarms"][0] < 0.15 * found["false_alarms"][1]


def test_the_page_has_its_tables_and_a_second_run_makes_nothing(study: StudyResult) -> None:
    page = (study.report.parent / "docs" / "README.md").read_text()
    assert page.count("| --- |") == 4
    assert run(FILTERS, Path(study.report.parent), scale="trial", workers=1).made == 0
