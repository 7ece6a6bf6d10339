from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.study import Bench, StudyResult, run
from molehunt_studies.attacks import ATTACKS_DIGITS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("attacks")
    return run(ATTACKS_DIGITS, folder, scale="trial", workers=1, docs=folder / "docs")


def _measured(folder: Path, lines: list[dict[str, object]], **changes: object) -> dict[str, object]:
    """Return the figures of a finished run, of other records or another plan."""
    stage = ATTACKS_DIGITS.stages[1]
    plan = ATTACKS_DIGITS.scales["trial"].model_copy(update=changes)
    records = {"judging": [stage.record.model_validate(line) for line in lines]}
    return ATTACKS_DIGITS.measures(Bench(plan, folder), records)


def _page(study: StudyResult, found: dict[str, object]) -> str:
    return ATTACKS_DIGITS.report.as_markdown({"digits": {**study.figures, **found}})


def _lines(study: StudyResult) -> list[dict[str, object]]:
    text = (study.report.parent / "judging.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_every_cell_counts_every_model_of_its_attack(study: StudyResult) -> None:
    found = study.figures
    assert [*found["attacks"]] == ["patch", "wanet"]
    for each in found["attacks"].values():
        assert [*each["known"]] == [*each["placebo"]] == ["statistics", "final-layer"]
        assert [*each["left_out"]] == ["statistics"]
        for cell in (*each["known"].values(), *each["left_out"].values()):
            assert cell["backdoored"]["of"] == each["taken"] == each["planted"] == 2
            assert cell["clean"]["of"] == found["clean"] == 4
            low, high = cell["interval"]
            assert 0 <= low <= cell["auc"] <= high <= 1
    assert [each["covers"] for each in found["attacks"].values()] == [False, True]
    assert found["summary"]["statistics"]["left_out"]["found"][1] == 4
    assert found["verdicts"]["statistics"]["backdoored"]["of"] == found["taken"][0] == 4
    assert found["placebos"]["statistics"]["covers"]["alarms"][1] == 1


def test_leaving_an_attack_out_changes_what_is_learned(study: StudyResult) -> None:
    scores = {line["id"]: line["scores"] for line in _lines(study)}
    assert scores["statistics"] != scores["statistics without patch"]
    assert scores["statistics without wanet"] != scores["statistics without patch"]


def test_a_backdoor_that_did_not_take_is_in_no_cell(study: StudyResult) -> None:
    folder = study.report.parent
    planted = Bench(ATTACKS_DIGITS.scales["trial"], folder).zoo("zoo").select("test", "backdoored")
    # Between the models: the least successful one is out, whatever a short training reached.
    least = sorted({each.attack_success or 0.0 for each in planted})[1]
    found = _measured(folder, _lines(study), least_success=least)["attacks"]
    for attack, each in found.items():
        own = [m.attack_success or 0.0 for m in planted if m.backdoor.attack == attack]
        assert each["taken"] == sum(success >= least for success in own)
    assert sum(each["taken"] for each in found.values()) < len(planted)
    nothing = _measured(folder, _lines(study), least_success=1.01)
    assert nothing["attacks"]["patch"]["known"]["statistics"] is None
    assert "statistics" in ATTACKS_DIGITS.report.as_markdown(
        {"digits": {**study.figures, **nothing}}
    )


def test_a_model_without_a_score_is_said_and_not_ranked(study: StudyResult) -> None:
    folder, lines = study.report.parent, _lines(study)
    lost = next(iter(Bench(ATTACKS_DIGITS.scales["trial"], folder).zoo("zoo").select("test")))
    for line in lines:
        del line["scores"][lost.id]
    found = _measured(folder, lines)["attacks"]
    cells = [each["known"]["statistics"] for each in found.values()]
    assert sum(cell["unscored"] for cell in cells) >= 1
    assert all(cell["clean"]["of"] == 4 for cell in cells)
    for line in lines:
        line["scores"] = {}
    nothing = _measured(folder, lines)
    assert nothing["attacks"]["patch"]["known"]["statistics"]["auc"] is None
    assert "| patch |" in ATTACKS_DIGITS.report.as_markdown(
        {"digits": {**study.figures, **nothing}}
    )


def test_the_page_has_its_tables_and_a_second_run_makes_nothing(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    assert (docs / "README.md").read_text().count("| --- |") == 6
    assert (docs / "table-digits.png").stat().st_size > 1000
    assert run(ATTACKS_DIGITS, study.report.parent, scale="trial", workers=1).made == 0
