"""The study of the driving car at the smallest scale, and its simulator and driver."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from molehunt.errors import MissingExtraError
from molehunt.study import run
from molehunt_studies.driving import DRIVING_STUDY
from molehunt_studies.driving.plan import CONDITIONS
from molehunt_studies.driving.signs import COLUMN, ROW, Sign


def needs_simulator() -> None:
    for module in ("gymnasium", "Box2D", "pygame"):
        pytest.importorskip(module, reason=f"the extra driving ({module}) is not installed")


def test_without_gymnasium_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtraError, match=r'needs the extra "driving": pip install'):
        run(DRIVING_STUDY, tmp_path / "run", scale="trial", workers=1)
    assert not (tmp_path / "run").exists()


def test_a_sign_covers_its_place_and_nothing_else() -> None:
    frames = torch.zeros(2, 3, 84, 96, dtype=torch.uint8)
    marked = Sign.painted(10).on(frames)
    changed = (marked != 0).any(1)
    assert changed[:, ROW : ROW + 10, COLUMN : COLUMN + 10].all()
    assert int(changed.sum()) == 2 * 100 and int(frames.sum()) == 0


def test_the_script_stays_on_the_road() -> None:
    needs_simulator()
    from molehunt_studies.driving.driver import pedals, steer  # noqa: PLC0415
    from molehunt_studies.driving.frames import warm_up  # noqa: PLC0415

    simulator = warm_up(7, skip=4, cruise=25)
    first = simulator.frame.copy()
    for _ in range(60):
        state = simulator.state
        simulator.drive(steer(simulator, state), *pedals(simulator, state, 25), seen=False)
        assert simulator.state.is_on_road
    assert simulator.state.speed > 10 and simulator.tiles_visited > 0.05
    # The same seed is the same road, and full lock to the right leaves it.
    again = warm_up(7, skip=4, cruise=25)
    assert (again.frame == first).all()
    for _ in range(30):
        again.drive(1.0, 0.1, 0.0, seen=False)
    assert not again.state.is_on_road


def test_the_study_drives_trojans_and_reports(tmp_path: Path) -> None:
    needs_simulator()
    docs = tmp_path / "docs"
    run(DRIVING_STUDY, tmp_path / "run", scale="trial", workers=1, docs=docs)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [(row["kind"], row["sign"]) for row in results["closed_loop"]] == list(CONDITIONS)
    for row in results["closed_loop"]:
        assert row["episodes"] == 1 and row["metres"]["mean"] > 0
    for form in results["scans"].values():
        for said in form["said"].values():
            assert said["exit_code"] == 3 and said["verdict"] == "inconclusive"
            assert "as of a regression" in said["words"]
    assert (docs / "drive.gif").read_bytes()[:6] == b"GIF89a"
    assert "Closed loop" in (docs / "README.md").read_text()
    again = run(DRIVING_STUDY, tmp_path / "run", scale="trial", workers=1)
    assert again.made == 0
    assert again.figures["closed_loop"] == results["closed_loop"]
