from __future__ import annotations

from pathlib import Path

from molehunt.study import run
from molehunt_studies.query_monitor import QUERY_MONITOR


def test_the_study_measures_goes_on_and_says_what_it_found(tmp_path: Path) -> None:
    folder, docs = tmp_path / "run", tmp_path / "docs"
    first = run(QUERY_MONITOR, folder, scale="trial", workers=1, docs=docs)
    found = first.figures
    plain = {item["attack"]: item for item in found["attacks"] if item["variant"] == "as it is"}
    for name in ("hopskipjump", "equation-solving"):
        (alone,) = plain[name]["firsts"]["any"][0]
        assert alone is not None and alone <= 60
    # Law: no account is flagged by neighbours before it has asked k others.
    for item in found["attacks"]:
        for law, firsts in zip(item["law"], item["firsts"]["neighbours"], strict=True):
            assert all(one is None or one >= law for one in firsts)
    free, blocked = (
        next(item for item in found["lives"] if item["action"] == action and item["accounts"] == 1)
        for action in ("none", "block")
    )
    assert free["success"]["rate"] >= blocked["success"]["rate"]
    assert blocked["asked"][0] < free["asked"][0]
    mixed = found["traffic"][0]
    assert mixed["alarms"]["any"]["rate"] < 0.2
    assert (docs / "README.md").read_text() == QUERY_MONITOR.report.as_markdown(found)
    again = run(QUERY_MONITOR, folder, scale="trial", workers=1)
    assert again.made == 0 and again.figures["attacks"] == found["attacks"]
