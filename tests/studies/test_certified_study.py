from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.certified import CERTIFIED


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("certified")
    return run(CERTIFIED, folder, scale="trial", workers=1, docs=folder / "docs")


def test_certified_is_at_most_attacked_for_every_network(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    plan = CERTIFIED.scales["trial"]
    assert [box["kind"] for box in figures["boxes"]] == [*plan.kinds]
    assert figures["violations"] == 0 < figures["checked"]
    for box in figures["boxes"]:
        ibp, crown_ibp = box["certified"]["ibp"], box["certified"]["crown-ibp"]
        assert ibp[0] <= crown_ibp[0] <= box["attacked"][0] <= box["clean"][0] <= plan.images
    for points in figures["curve"].values():
        assert [point["epsilon"] for point in points] == [*plan.radii]
    (smoothed,) = figures["smoothing"]["digits"]
    counts = [count for count, _ in smoothed["certified"].values()]
    assert counts == sorted(counts, reverse=True) and counts[0] > 0


def test_the_page_has_tables_figures_and_pictures(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    page = (docs / "README.md").read_text()
    assert len(re.findall(r"^\| ---", page, re.MULTILINE)) == 4
    for name in ("curve", "smoothing", "limits"):
        assert (docs / f"{name}.png").stat().st_size > 1000
    assert study.made == 5 + 1 + 5 + 5 * 2 + 1 + 1


def test_a_second_run_makes_nothing_again(study: StudyResult, tmp_path: Path) -> None:
    again = run(CERTIFIED, study.report.parent, scale="trial", workers=1)
    assert again.made == 0
    assert again.figures["boxes"] == study.figures["boxes"]
