"""The committed assessments: within their budgets, and each number with its command line."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest

from molehunt.assess import ASSESSORS

FOLDER = Path(__file__).parents[2] / "docs/examples"
FILES = sorted(FOLDER.glob("*.json"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text())


def test_there_are_examples() -> None:
    assert FILES and all(path.with_suffix(".html").is_file() for path in FILES)


def test_all_risks_are_there_and_the_budget_is_kept(found: dict[str, Any]) -> None:
    names = [risk["name"] for risk in found["risks"]]
    assert names == [name for name in ASSESSORS if name in names]
    spent, budget = found["queries"]["spent"], found["queries"]["budget"]
    assert spent <= budget
    # Certificates take what the others leave.
    if "--only" not in found["command"]:
        assert len(names) == len(ASSESSORS) and spent >= 0.9 * budget
    prices = sum(risk["price"]["queries"] for risk in found["risks"] if risk["price"])
    assert spent == found["queries"].get("opening", 0) + prices


def test_every_number_has_its_interval_and_its_command(found: dict[str, Any]) -> None:
    for risk in found["risks"]:
        if risk["status"] == "not assessed":
            assert risk["why"]
            continue
        words = shlex.split(risk["command"])
        assert words[-2:] == ["--only", risk["name"]]
        asked = int(words[words.index("--queries") + 1]) - found["queries"].get("opening", 0)
        assert asked == risk["price"]["budget"]
        for measure in risk["measures"]:
            if measure["value"] is not None and measure["interval"] is not None:
                low, high = (math.inf if end is None else end for end in measure["interval"])
                assert low <= measure["value"] <= high and measure["n"] > 0


def test_the_page_says_what_the_numbers_say(found: dict[str, Any]) -> None:
    (path,) = (each for each in FILES if json.loads(each.read_text()) == found)
    page = path.with_suffix(".html").read_text()
    for risk in found["risks"]:
        assert risk["title"] in page
        if risk["status"] != "not assessed":
            assert risk["words"].split(".")[0].replace("'", "&#39;") in page
