from __future__ import annotations

from pathlib import Path

from molehunt.study import run
from molehunt_studies.evasion import EVASION


def test_the_study_measures_goes_on_and_says_what_it_found(tmp_path: Path) -> None:
    folder, docs = tmp_path / "run", tmp_path / "docs"
    first = run(EVASION, folder, scale="trial", workers=1, docs=docs)
    found = first.figures
    assert found["networks"]["digits"]["accuracy"][0] > 0.9
    for curves in found["curves"].values():
        assert set(curves) == {"linf", "l2", "l0"}
        for curve in curves.values():
            rates = [rate for rate, *_ in curve["accuracy"]]
            assert rates == sorted(rates, reverse=True) and rates[0] > rates[-1]
            assert all(low <= rate <= high for rate, low, high in curve["accuracy"])
    by_name = {(item["attack"], item["norm"]): item for item in found["attacks"]}
    assert by_name["fmn", "linf"]["success"][0] == 1.0
    assert by_name["fmn", "l2"]["median"] < by_name["boundary", "l2"]["median"]
    assert len(by_name["pgd", "linf"]["left"]) == 5
    (compared,) = found["compared"]
    assert abs(compared["ours"][0] - compared["library"][0]) <= 0.1
    assert (docs / "README.md").read_text() == EVASION.report.as_markdown(found)
    # A second run makes nothing anew.
    again = run(EVASION, folder, scale="trial", workers=1)
    assert again.made == 0 and again.figures["attacks"] == found["attacks"]
