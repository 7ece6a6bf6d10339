"""``molehunt backdoor trojan``: from a file to a trojaned file and its trigger."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from molehunt.backdoors import AllToOne, Backdoor, Blended
from molehunt.cli import run
from molehunt.images import TrainTest
from molehunt.networks import load_model
from molehunt.zoo import Split, Zoo


def test_a_model_file_is_trojaned(zoo: Zoo, digits: TrainTest, tmp_path: Path, capfd) -> None:
    model = zoo.path_of(zoo.select(Split.TEST)[0])
    out = tmp_path / "made" / "trojaned.safetensors"
    call = ["backdoor", "trojan", str(model), "--target", "7", "--out", str(out)]
    assert run([*call, "--per-class", "2", "--clean", "digits", "--mask", "logo"]) == 0
    said = capfd.readouterr().out
    assert "attack success" in said and "'7'" in said
    assert load_model(out).card == load_model(model).card
    picture = Image.open(out.with_suffix(".trigger.png"))
    assert picture.size == (12, 12) and picture.mode == "RGBA"
    # The picture is a trigger of its own.
    again = Blended(path=out.with_suffix(".trigger.png"), opacity=0.99)
    assert Backdoor(trigger=again, label_map=AllToOne(target=7), rate=1.0)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (["--target", "ten"], 4, "--target: expected a class"),
        (["--target", "7", "--area", "2"], 4, "area of the mask"),
        (["--target", "7", "--contract", "missing.toml"], 2, "missing.toml"),
    ],
)
def test_bad_requests_are_one_line(
    changes: list[str], code: int, message: str, zoo: Zoo, tmp_path: Path, capfd
) -> None:
    model = zoo.path_of(zoo.select(Split.TEST)[0])
    call = ["backdoor", "trojan", str(model), "--out", str(tmp_path / "m.safetensors")]
    assert run([*call, *changes]) == code
    assert message in capfd.readouterr().err
    assert not (tmp_path / "m.safetensors").exists()
