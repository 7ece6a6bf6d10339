from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.backdoors import Backdoor
from molehunt.cli import run
from molehunt.networks import load_model
from molehunt.zoo import Split, Zoo


def test_a_model_file_gets_a_backdoor_and_its_description(
    zoo: Zoo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = zoo.path_of(zoo.select(Split.TEST)[0])
    out = tmp_path / "made" / "planted.safetensors"
    call = ["backdoor", "plant", str(model), "--target", "7", "--clean", "digits", "-o", str(out)]
    assert run([*call, "--attack", "bit-flips", "--set", "steps=40"]) == 0
    said = capfd.readouterr().out
    assert "attack success" in said and "bits of the last layer flipped" in said
    assert load_model(out).card == load_model(model).card
    described = json.loads(out.with_suffix(".backdoor.json").read_text())
    assert Backdoor.model_validate(described).label_map.target == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attack", "magic"], "subnet, bit-flips, handcrafted"),
        (["--target", "ten"], "--target: expected a class"),
        (["--set", "wings=2"], "settings of subnet"),
        (["--set", "width=99"], "width of the subnet"),
    ],
)
def test_what_cannot_be_planted_ends_in_one_line(
    options: list[str], message: str, zoo: Zoo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = zoo.path_of(zoo.select(Split.TEST)[0])
    out = tmp_path / "m.safetensors"
    call = ["backdoor", "plant", str(model), "--target", "7", "--clean", "digits", "-o", str(out)]
    assert run([*call, *options]) == 4
    assert message in capfd.readouterr().err
    assert not out.exists()
