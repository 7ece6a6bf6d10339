"""Each exit code of a scan, from the installed command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molehunt.backdoors import Treatment
from molehunt.detectors import load_detector
from molehunt.errors import ExitCode
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, save_model
from molehunt.zoo import Split, Zoo

Make = Callable[[Path, Zoo, Path, TrainTest], Path]


class Payload:
    """Would leave a mark if it were loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


def clean(_folder: Path, zoo: Zoo, detector_file: Path, _digits: TrainTest) -> Path:
    """The clean test model that looks least suspicious to the detector."""
    detector, _ = load_detector(detector_file)
    records = zoo.select(Split.TEST, Treatment.CLEAN)
    scores = detector.decision_function(zoo.models(records))
    return zoo.path_of(records[int(scores.argmin())])


def unsafe(folder: Path, *_: object) -> Path:
    torch.save({"weights": Payload(folder / "mark")}, folder / "model.pt")
    return folder / "model.pt"


def damaged(folder: Path, zoo: Zoo, *_: object) -> Path:
    whole = zoo.path_of(zoo.records[0]).read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    return folder / "model.safetensors"


def of_another_shape(folder: Path, _zoo: Zoo, _detector: Path, digits: TrainTest) -> Path:
    model = build_classifier("vgg", digits.train.resized(20), arguments={"width": 4}, seed=0)
    save_model(model, folder / "model.safetensors")
    return folder / "model.safetensors"


CASES: dict[ExitCode, Make] = {
    ExitCode.CLEAN: clean,
    ExitCode.FOUND: unsafe,
    ExitCode.FAILED: damaged,
    ExitCode.INCONCLUSIVE: of_another_shape,
}


@pytest.mark.parametrize("code", CASES)
def test_the_command_ends_with(
    code: ExitCode, zoo: Zoo, detector_file: Path, digits: TrainTest, tmp_path: Path
) -> None:
    path = CASES[code](tmp_path, zoo, detector_file, digits)
    # A detector of a tiny zoo finds too little to call a model clean, if nobody settles for less.
    done = _scan(path, "-d", detector_file, "--max-false-alarms", "0.05", "--min-power", "0")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mark").exists()


def test_impossible_usage_ends_with_its_code() -> None:
    done = _scan("--no-such-flag")
    assert done.returncode == ExitCode.USAGE
    assert len(done.stderr.strip().splitlines()) == 1


def _scan(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "molehunt", "scan", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
