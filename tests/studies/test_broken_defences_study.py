from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.broken_defences import BROKEN_DEFENCES
from molehunt_studies.broken_defences.defences import DEFENCES

pytest.importorskip("foolbox")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("broken")
    return run(
        BROKEN_DEFENCES,
        folder,
        scale="smoke",
        workers=1,
        docs=folder / "docs",
    )


def test_every_defence_meets_every_attack_that_says_something(study: StudyResult) -> None:
    found = study.figures["sets"]["digits"]["defences"]
    assert set(found) == set(DEFENCES)
    for name, item in found.items():
        defence = DEFENCES[name]
        assert ("bpda" in item) is defence.hides
        assert ("eot" in item) is (defence.random and not defence.hides)
        assert ("transfer" in item) is (name != "none")
        for attack in {"usual", "decision", "adaptive", "transfer", "bpda", "eot"} & set(item):
            low, high = item[attack]["interval"]
            assert low <= item[attack]["rate"] <= high
        assert item["signs"]["left_by_all"]["rate"] <= item["signs"]["left"]["rate"]
        assert item["queries"]["usual"] <= 12 * 3
        within = item["above_undefended"] <= 0.05 + 1e-9
        assert item["within"] is within
        assert ("harder" in item) or within
    hidden = found["bit-depth"]
    assert hidden["adaptive"]["rate"] < hidden["usual"]["rate"]


def test_the_page_has_its_tables_and_its_figure(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    page = (docs / "README.md").read_text()
    assert sum(line.startswith("| ---") for line in page.splitlines()) == 2
    assert (docs / "left.png").stat().st_size > 1000
    assert "dropout at test time" in page


def test_a_second_run_attacks_nothing_again(study: StudyResult) -> None:
    folder: Path = study.report.parent
    again = run(BROKEN_DEFENCES, folder, scale="smoke", workers=1)
    assert again.made == 0 < study.made
    assert again.figures["sets"] == study.figures["sets"]
    stored = json.loads((folder / "results.json").read_text())
    assert stored["sets"] == json.loads(json.dumps(study.figures["sets"]))
