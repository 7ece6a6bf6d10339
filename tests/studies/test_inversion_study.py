from __future__ import annotations

import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.inversion import INVERSION


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("inversion")
    return run(INVERSION, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_digits_are_recognised_and_an_untrained_network_shows_none(study: StudyResult) -> None:
    (found,) = study.figures["sets"].values()
    rows = {each["attack"]: each for each in found["inversions"]}
    assert len(rows) == 10 and all(each["classes"] == 8 for each in rows.values())
    assert rows["gradients, nearly as in the paper"]["nearest"] >= 6
    assert rows["gradients of an untrained network"]["nearest"] <= 4
    assert rows["a copy first, then its gradients"]["queries"] == 65
    assert rows["questions about each pixel"]["queries"] == 8 * (4 + 3 * 64)
    assert all(each["classes"] == 2 for each in found["tried"])


def test_a_second_run_inverts_nothing_again(study: StudyResult) -> None:
    again = run(INVERSION, study.report.parent, scale="smoke", workers=1)
    assert again.made == 0 < study.made
    page = (study.report.parent / "docs" / "README.md").read_text()
    assert "## Digits" in page and "Chance is" in page
    assert (study.report.parent / "docs" / "drawn.png").stat().st_size > 1000
