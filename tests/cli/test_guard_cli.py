"""``molehunt guard``: from clean images to a calibration, from a log to first alarms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.cli import run
from molehunt.guard import QueryLog
from molehunt.images import load_images
from molehunt.networks import build_classifier, save_model
from molehunt.training import Recipe, train
from tests.cli.test_cli import one_line

DIGITS = load_images("digits", size=12)


def calibrate(folder: Path) -> list[str]:
    """Calibrate for a small network; return the arguments that replay a log with that."""
    model = build_classifier("mlp", DIGITS.train, arguments={"hidden": [8]}, seed=0)
    train(model, DIGITS.train, Recipe(epochs=4, lr=0.05), seed=0)
    save_model(model, folder / "model.safetensors")
    images, labels = DIGITS.train.images[:, 0].numpy(), DIGITS.train.labels.numpy()
    honest = folder / "honest.npz"
    np.savez(honest, x_train=images[:1], y_train=labels[:1], x_test=images, y_test=labels)
    arguments = ["guard", "calibrate", str(folder / "model.safetensors")]
    arguments += ["--clean", f"npz:{honest}", "-o", str(folder / "guard.json")]
    assert run([*arguments, "--false-alarms", "0.04"]) == 0
    log, calibration = folder / "log.npz", folder / "guard.json"
    return ["guard", "replay", str(log), "--calibration", str(calibration)]


def test_a_log_is_replayed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = calibrate(tmp_path)
    assert "neighbours: alarm above" in capfd.readouterr().out
    log, document = tmp_path / "log.npz", tmp_path / "replay.json"
    QueryLog(DIGITS.test.images[:1].repeat(120, 1, 1, 1), torch.zeros(120).long()).save(log)
    assert run([*arguments, "--accounts", "60,1", "--json", str(document)]) == 1
    assert "answered" in capfd.readouterr().out
    found = json.loads(document.read_text())["replayed"]
    firsts = {(item["monitor"], item["accounts"]): item["first"] for item in found}
    assert firsts["neighbours", 1] == 51
    assert firsts["neighbours", 60] is None
    assert firsts["hashed-windows", 60] == 61
    QueryLog(DIGITS.test.images[:1], torch.zeros(1).long()).save(log)
    assert run([*arguments, "--json", "-"]) == 0


def test_bad_input_ends_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log, arguments = tmp_path / "log.npz", calibrate(tmp_path)
    capfd.readouterr()
    assert run(arguments) == 2
    assert "cannot be read" in one_line(capfd)
    QueryLog(torch.zeros(1, 1, 5, 5, dtype=torch.uint8), torch.zeros(1).long()).save(log)
    assert run(arguments) == 4
    assert "expected shape (1, 12, 12), got shape (1, 5, 5)" in one_line(capfd)
    for wrong in ("0", "1,x", "", "9" * 30):
        assert run([*arguments, "--accounts", wrong]) == 4
        assert "--accounts: expected numbers from 1" in one_line(capfd)
