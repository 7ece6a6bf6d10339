from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.study import Bench, StudyResult, run
from molehunt_studies.attacks import ATTACKS_STUDY


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("attacks")
    return run(ATTACKS_STUDY, folder, scale="trial", workers=1, docs=folder / "docs")


def test_every_cell_counts_every_model_of_its_attack(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    assert [*figures["attacks"]] == ["patch", "blend"]
    for found in figures["attacks"].values():
        assert [*found["known"]] == ["statistics", "final-layer"]
        assert [*found["left_out"]] == ["statistics"]
        for cell in (*found["known"].values(), *found["left_out"].values()):
            assert cell["backdoored"]["of"] == found["taken"] == found["planted"] == 2
            assert cell["clean"]["of"] == figures["clean"] == 4
            low, high = cell["interval"]
            assert 0 <= low <= cell["auc"] <= high <= 1


def test_leaving_an_attack_out_changes_what_is_learned(study: StudyResult) -> None:
    lines = (study.report.parent / "judging.jsonl").read_text().splitlines()
    scores = {record["id"]: record["scores"] for record in map(json.loads, lines)}
    assert scores["statistics"] != scores["statistics without patch"]
    assert scores["statistics without blend"] != scores["statistics without patch"]


def test_a_backdoor_that_did_not_take_is_in_no_cell(study: StudyResult) -> None:
    folder = Path(study.report.parent)
    planted = Bench(ATTACKS_STUDY.scales["trial"], folder).zoo("zoo").select("test", "backdoored")
    # Between the models: the least successful one is out, whatever a short training reached.
    least = sorted({each.attack_success or 0.0 for each in planted})[1]
    plan = ATTACKS_STUDY.scales["trial"].model_copy(update={"least_success": least})
    bench = Bench(plan, folder)
    records = {"judging": ATTACKS_STUDY.stages[1].run(bench, {}, 1, lambda *_: None)}
    found = ATTACKS_STUDY.measures(bench, records)["attacks"]
    for attack, each in found.items():
        own = [m.attack_success or 0.0 for m in planted if m.backdoor.attack == attack]
        assert each["taken"] == sum(success >= least for success in own)
    assert sum(each["taken"] for each in found.values()) < len(planted)


def test_the_page_has_its_tables_and_a_second_run_makes_nothing(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    assert (docs / "README.md").read_text().count("| --- |") == 4
    assert (docs / "table.png").stat().st_size > 1000
    assert run(ATTACKS_STUDY, Path(study.report.parent), scale="trial", workers=1).made == 0
