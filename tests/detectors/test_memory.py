"""What fitting is said to take, against what a process of its own is seen to take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from molehunt.images import TrainTest
from molehunt.networks import build_classifier, save_model

FIT = """
import sys
from pathlib import Path
import torch
from molehunt.detectors import LitmusPatterns
from molehunt.zoo import Models
torch.set_num_threads(1)
detector = LitmusPatterns(n_patterns=20, epochs=1, device="cpu")
for count in (40, 120):
    models = Models([Path(sys.argv[1])] * count)
    said = detector.memory_to_fit(models)
    detector.fit(models, [0, 1] * (count // 2))
    status = Path("/proc/self/status").read_text()
    print(said, 1024 * int(status.split("VmHWM:")[1].split()[0]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_the_estimate_is_what_a_process_takes(digits: TrainTest, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    arguments = {"width": 16, "stages": [1], "hidden": 3000}
    model = build_classifier("vgg", digits.train, arguments=arguments, seed=0)
    save_model(model, path)
    lines = subprocess.run(
        [sys.executable, "-c", FIT, str(path)], capture_output=True, text=True, check=True
    ).stdout
    (few_said, few), (many_said, many) = ([int(n) for n in s.split()] for s in lines.splitlines())
    assert abs(few_said / few - 1) < 0.25
    assert abs(many_said / many - 1) < 0.25
