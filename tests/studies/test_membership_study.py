from __future__ import annotations

from pathlib import Path

from molehunt.study import run
from molehunt_studies.membership import MEMBERSHIP


def test_the_study_measures_goes_on_and_says_what_it_found(tmp_path: Path) -> None:
    folder, docs = tmp_path / "run", tmp_path / "docs"
    first = run(MEMBERSHIP, folder, scale="trial", workers=1, docs=docs)
    found = first.figures
    assert found["models"]["whole"]["count"] == 12
    whole = found["attacks"]["whole"]
    assert {each["targets"] for name, each in whole.items() if name != "labels only"} == {10}
    for each in (each for group in found["attacks"].values() for each in group.values()):
        mean, least, largest = each["auc"]
        assert 0 < least <= mean <= largest < 1
        assert each["curve"] == sorted(each["curve"]) and each["curve"][-1] == 1
    # Networks that are hardly trained have nothing to remember.
    assert abs(found["attacks"]["stopped"]["LiRA, 1 query"]["auc"][0] - 0.5) < 0.03
    assert whole["RMIA online"]["auc"][0] > whole["loss threshold"]["auc"][0] + 0.03
    assert found["attacks"]["forest"]["RMIA offline"]["auc"][0] > 0.7
    most, least = (found["exposed"][name][0] for name in ("most", "least"))
    assert most["exposure"] > 1 and most["with"] > most["without"]
    assert abs(least["exposure"]) < 0.1
    assert (docs / "README.md").read_text() == MEMBERSHIP.report.as_markdown(found)
    assert (docs / "exposed.png").read_bytes().startswith(b"\x89PNG")
    again = run(MEMBERSHIP, folder, scale="trial", workers=1)
    assert again.made == 0 and again.figures["attacks"] == found["attacks"]
