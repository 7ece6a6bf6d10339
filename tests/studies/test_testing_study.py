from __future__ import annotations

from pathlib import Path

from molehunt.study import run
from molehunt_studies.testing import TESTING


def test_the_study_measures_and_says_what_it_found(tmp_path: Path) -> None:
    folder, docs = tmp_path / "run", tmp_path / "docs"
    found = run(TESTING, folder, scale="trial", workers=1, docs=docs).figures
    plan = found["plan"]
    assert all(right / of > 0.5 for right, of in found["lenets"].values())
    assert {each["constraint"] for each in found["differences"]} == {
        *("light", "occlusion", "blackout")
    }
    assert sum(each["found"][0] for each in found["differences"]) > 0
    (corners,) = found["corners"].values()
    assert all(right[0] >= right[5] for right in corners["right"].values())
    (boundary,) = found["boundary"].values()
    assert boundary["gradients"]["median"] < boundary["lines"]["median"]
    (coverage,) = found["coverage"].values()
    clean, few = (coverage[name]["sections"][0] for name in ("clean images", "a tenth of them"))
    assert 0 < few < clean
    (searches,) = found["searches"].values()
    assert {each["passes"] for each in searches.values()} == {plan["passes"]}
    assert {*searches["random"]["leads"]} == {"walk"}
    mean, low, high = searches["coverage"]["leads"]["walk"]
    assert low <= mean <= high
    assert found["twins"]["backdoored"]["models"] == plan["pairs"]
    for pairs in found["pairs"].values():
        for sign in ("clean images", "search", "one class"):
            flagged = pairs[sign]["flagged"]
            assert flagged["backdoored"][1] == flagged["clean"][1] == plan["pairs"]
    assert (docs / "README.md").read_text() == TESTING.report.as_markdown(found)
