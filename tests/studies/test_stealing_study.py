from __future__ import annotations

import json

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.stealing import STEALING


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("stealing")
    return run(STEALING, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_linear_models_and_trees_are_stolen_whole(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    exact = next(each for each in figures["linear"] if each["decimals"] is None)
    assert exact["asked"] == 5
    assert exact["on_test"][0] == exact["on_test"][1]
    for tree in figures["trees"]:
        assert tree["on_uniform"] == [10_000, 10_000]
        assert tree["found"] <= tree["leaves"]


def test_copies_agree_and_fool_the_victim_more_often_than_nothing(study: StudyResult) -> None:
    figures = study.figures
    best = max(max(each["agreement"]) for each in figures["networks"])
    assert best > 0.5  # a tenth by chance
    fooled, of = figures["evasion"]["from the victim itself"]
    assert fooled > of / 2
    assert all(0 <= each["evasion"][0] <= each["evasion"][1] for each in figures["networks"])


def test_a_second_run_steals_nothing_again(study: StudyResult) -> None:
    again = run(STEALING, study.report.parent, scale="smoke", workers=1)
    assert again.made == 0 < study.made
    assert (study.report.parent / "docs" / "queries.png").stat().st_size > 1000
