from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.named_attacks import NAMED_ATTACKS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("named")
    return run(NAMED_ATTACKS, folder, scale="trial", workers=1, docs=folder / "docs")


def test_every_attack_is_measured_on_test_images(study: StudyResult) -> None:
    plan = NAMED_ATTACKS.scales["trial"]
    attacks = json.loads((study.report.parent / "results.json").read_text())["attacks"]
    assert [*attacks] == [*plan.poisoning, *plan.planted, *plan.taught]
    for runs in attacks.values():
        for made in runs:
            right, of = made["accuracy"]
            assert of == 450 and right > 0.85 * of
            assert made["before"][0] < 0.4 * made["before"][1]
            assert made["before"][1] == made["success"][1] > 350
    assert attacks["patch"][0]["success"][0] > 350
    assert "bits of the last layer flipped" in attacks["bit-flips"][0]["note"]


def test_the_page_has_its_tables_and_a_second_run_makes_nothing(study: StudyResult) -> None:
    page = (study.report.parent / "docs" / "README.md").read_text()
    assert page.count("| --- |") == 2 and "| bit-flips |" in page
    assert run(NAMED_ATTACKS, Path(study.report.parent), scale="trial", workers=1).made == 0
