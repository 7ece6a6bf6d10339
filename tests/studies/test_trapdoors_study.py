from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.trapdoors import TRAPDOORS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("trapdoors")
    return run(TRAPDOORS, folder, scale="trial", workers=1, docs=folder / "docs")


def test_every_attack_met_both_networks_and_only_one_opens(study: StudyResult) -> None:
    plan = TRAPDOORS.scales["trial"]
    results = json.loads((study.report.parent / "results.json").read_text())
    planted, twin = (results["networks"][kind] for kind in ("trapdoors", "twin"))
    assert planted["opened"][1] == twin["opened"][1] == 9 * plan.attacked
    assert planted["opened"][0] > 0.8 * planted["opened"][1]
    assert twin["opened"][0] < 0.2 * twin["opened"][1]
    assert [*results["attacks"]] == [*plan.attackers]
    for name, attacker in plan.attackers.items():
        found = results["attacks"][name]
        assert ("twin" in found) is not attacker.knows
        fooled, caught, unseen = (found["trapdoors"][k] for k in ("fooled", "caught", "unseen"))
        assert 0 < fooled[0] == caught[1] <= fooled[1] <= (attacker.most or plan.attacked)
        assert unseen == [fooled[0] - caught[0], fooled[1]]


def test_the_page_has_its_tables_and_a_second_run_makes_nothing(study: StudyResult) -> None:
    page = (study.report.parent / "docs" / "README.md").read_text()
    assert page.count("| --- |") == 3
    assert run(TRAPDOORS, Path(study.report.parent), scale="trial", workers=1).made == 0
