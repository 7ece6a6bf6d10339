"""The study of poison that passes a filter, on small digits."""

from __future__ import annotations

import json
from pathlib import Path

from molehunt.study import run
from molehunt_studies.poison_bound import POISON_BOUND


def test_bounds_hold_and_are_written(tmp_path: Path) -> None:
    run(POISON_BOUND, tmp_path / "run", scale="smoke", workers=1, docs=tmp_path / "docs")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    clean, poisoned = results["cells"]
    assert clean["bound"] <= poisoned["bound"] and poisoned["reached"] <= poisoned["bound"]
    assert 0 < poisoned["passed"] < poisoned["train_images"]
    assert "*reached*" in (tmp_path / "docs" / "README.md").read_text()
    again = run(POISON_BOUND, tmp_path / "run", scale="smoke", workers=1)
    assert again.made == 0
