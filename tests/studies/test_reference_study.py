"""The reference population at its smallest scale: who is compared with whom."""

from __future__ import annotations

import json

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.reference import REFERENCE
from molehunt_studies.reference.plan import SCALES
from molehunt_studies.reference.readings import ReadingRecord
from molehunt_studies.reference.results import LEAST_SUCCESS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("reference")
    return run(REFERENCE, folder, scale="smoke", workers=1, docs=folder / "docs")


def readings(study: StudyResult) -> list[ReadingRecord]:
    lines = (study.report.parent / "readings.jsonl").read_text().splitlines()
    return [ReadingRecord.model_validate_json(line) for line in lines]


def test_every_model_is_read_by_every_check(study: StudyResult) -> None:
    found = readings(study)
    assert len(found) == study.figures["models"] == 8
    for each in found:
        assert set(each.scores) == set(each.statistics) == {"margin", "final-layer"}
        assert all(len(values) == 10 for values in each.statistics.values())
        assert (each.kind is None) == (each.success is None)


def test_backdoors_that_did_not_take_are_nowhere(study: StudyResult) -> None:
    found = readings(study)
    weak = [each for each in found if each.kind and (each.success or 0) < LEAST_SUCCESS]
    assert len(weak) == study.figures["did_not_take"]
    shipped = study.figures["scores"]
    assert sum(len(row["scores"]) for row in shipped) == 2 * (8 - len(weak))


def test_models_are_compared_with_clean_ones_of_the_other_network(study: StudyResult) -> None:
    """Two clean models of each: p is at least a third, so nothing is flagged."""
    for check in study.figures["checks"]:
        judged = study.figures["groups"]["10"][check]
        assert judged["other networks"]["0.05"]["false_alarms"] == (0, 4)
        assert "other images" not in judged  # all are digits
        flagged = [row.own_p_values[check] <= 0.05 for row in readings(study) if not row.kind]
        assert judged["by_own_null"]["false_alarms"] == (sum(flagged), 4)


def test_the_page_has_a_row_a_kind(study: StudyResult) -> None:
    page = (study.report.parent / "docs" / "README.md").read_text()
    for kind in study.figures["groups"]["10"]["margin"]["auc"]:
        assert f"| {kind} |" in page
    written = json.loads((study.report.parent / "docs" / "results.json").read_text())
    assert written["scores"] == study.figures["scores"]


def test_the_populations_mix_networks_images_kinds_and_recipes() -> None:
    zoos = SCALES["full"].populations()
    assert len(zoos) == 80 and len({plan.seed for plan in zoos.values()}) == 80
    assert len({plan.recipe.optimizer for plan in zoos.values()}) == 2
    attacks = {name for plan in zoos.values() for name in plan.backdoors.kind}
    assert len(attacks) == 8
    clean = sum(plan.models[split].pairs for plan in zoos.values() for split in plan.models)
    assert clean == 160
