"""A stranger's model file asks ``repair`` for no more than a scan would give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from molehunt.cli import run
from molehunt.networks import build_network

CARD: dict[str, Any] = {
    "architecture": "vgg",
    "arguments": {"width": 4, "stages": [1, 1]},
    "input_shape": [1, 12, 12],
    "class_names": list("0123456789"),
    "mean": [0.0],
    "std": [1.0],
}
CLAIMS: dict[str, dict[str, Any]] = {
    "a huge image": {"input_shape": [1, 20_000, 20_000]},
    "a huge number": {"arguments": {"width": 10**9, "stages": [1, 1]}},
    "code": {"architecture": "subprocess:run"},
    "a long name": {"class_names": ["A" * 10**6, *"123456789"]},
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_without_measure_is_refused_before_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.safetensors"
    network = build_network(
        "vgg", input_shape=(1, 12, 12), num_classes=10, arguments=CARD["arguments"]
    )
    card = json.dumps({**CARD, **CLAIMS[name]})
    save_file(network.state_dict(), path, metadata={"molehunt.model": card})
    code = run(["repair", str(path), "--clean", "digits", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 4
    assert "model card" in said and "internal" not in said
    assert len(said) < 1000
    assert not (tmp_path / "out").exists()
