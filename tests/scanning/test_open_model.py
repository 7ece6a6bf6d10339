from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from molehunt.errors import (
    CodeNotTrustedError,
    InvalidRequestError,
    UnreadableFileError,
    UnsafeFileError,
)
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, save_model
from molehunt.scanning import open_model
from molehunt.subjects import Opening, StatedContract
from tests.subjects.foreign_networks import Small


class Runs:
    """What a hostile pickle holds."""

    def __reduce__(self) -> object:
        return (Path.touch, (Path("ran"),))


def test_a_model_file_opens_as_it_was_saved(digits: TrainTest, tmp_path: Path) -> None:
    vgg = {"width": 4, "stages": [1, 1]}
    model = build_classifier("vgg", digits.train, arguments=vgg, seed=0).eval()
    save_model(model, tmp_path / "model.safetensors")
    opened = open_model(tmp_path / "model.safetensors", device="auto")
    pixels = digits.test.pixels()[:5]
    device = opened.mean.device
    assert torch.allclose(opened(pixels.to(device)).cpu(), model(pixels), atol=1e-5)


def test_a_hostile_file_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.pt").write_bytes(pickle.dumps(Runs()))
    with pytest.raises((UnsafeFileError, CodeNotTrustedError), match=r"model\.pt"):
        open_model("model.pt")
    assert not Path("ran").exists()


def test_what_is_no_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    for name in ("notes.txt", "nowhere.safetensors"):
        with pytest.raises(UnreadableFileError, match=name):
            open_model(tmp_path / name)


def test_a_contract_that_is_missing_or_contradicted_is_refused(
    digits: TrainTest, tmp_path: Path
) -> None:
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "bare.pt")
    with pytest.raises(InvalidRequestError, match=r"bare\.pt"):
        open_model(tmp_path / "bare.pt")
    vgg = {"width": 4, "stages": [1, 1]}
    save_model(
        build_classifier("vgg", digits.train, arguments=vgg, seed=0), tmp_path / "raw.safetensors"
    )
    with pytest.raises(InvalidRequestError, match=r"accuracy|right"):  # it was never trained
        open_model(tmp_path / "raw.safetensors", clean=digits.test)


def test_one_of_several_sets_must_be_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights, averaged = Small().state_dict(), Small().state_dict()
    torch.save({"model": weights, "ema": averaged}, tmp_path / "two.pt")
    contract = StatedContract(
        architecture="tests.subjects.foreign_networks:Small",
        input_shape=(1, 8, 8),
        classes=4,
        mean=(0.0,),
        std=(1.0,),
    )
    with pytest.raises(InvalidRequestError, match="one of model, ema"):
        open_model(tmp_path / "two.pt", opening=Opening(contract))
    model = open_model(tmp_path / "two.pt", opening=Opening(contract, weights="ema"))
    assert torch.equal(model.network.state_dict()["fc.weight"], averaged["fc.weight"])
