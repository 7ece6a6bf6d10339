from __future__ import annotations

from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.networks import load_model

TRAIN = ["backdoor", "train", "digits", "--size", "12", "--epochs", "1", "--network", "vgg"]


def test_an_attacker_who_knows_the_detector_gets_a_lower_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evading.safetensors"
    assert run([*TRAIN, "--evade", "margin", "--strength", "0.5", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "attack success" in said and "Score of the detector that was evaded, margin" in said
    assert load_model(out).card.input_shape == (1, 12, 12)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--evade", "nothing"], "margin, or the file of a detector"),
        (["--attack", "magic"], "wanet"),
        (["--epochs", "0"], "1 or more"),
        (["--attack", "input-aware", "--rate", "0.1"], "no --rate"),
        (["--evade", "margin", "--strength", "-1"], "0 or more"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*TRAIN, *options, "-o", str(tmp_path / "x.safetensors")]) == 4
    assert word in capsys.readouterr().err
