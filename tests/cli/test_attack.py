"""``molehunt attack evade``: what it writes, and how bad input ends."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from molehunt.cli import run
from molehunt.images import TrainTest, load_test_images
from molehunt.networks import load_model, save_model
from molehunt.zoo import Split, Zoo
from tests.cli.test_cli import one_line


@pytest.fixture
def model(zoo: Zoo) -> Path:
    return zoo.path_of(zoo.select(Split.TEST)[0])


def attack(model: Path, *arguments: str) -> int:
    return run(["attack", "evade", str(model), "--clean", "digits", *arguments])


def test_success_is_in_the_saved_images(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, document, curve = tmp_path / "out", tmp_path / "r.json", tmp_path / "curve.png"
    arguments = ["--attack", "pgd", "--epsilon", "51/255", "--images", "30"]
    arguments += ["--json", str(document)]
    assert attack(model, *arguments, "-o", str(out), "--curve", str(curve)) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "30 clean images, accuracy" in shown and "weights, L∞" in shown
    assert curve.read_bytes().startswith(b"\x89PNG")
    found = json.loads(document.read_text())
    assert found["exit_code"] == 0 and found["images"] == 30
    (result,) = found["attacks"]
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert len(rows) == result["attacked"]
    turned = [row for row in rows if row["success"] == "1"]
    assert len(turned) == round(result["success"]["rate"] * len(rows)) > 5
    network = load_model(model)
    for row in turned:
        pixels = np.asarray(Image.open(out / row["file"]))
        said = network(torch.from_numpy(pixels)[None, None].float() / 255).argmax(1)
        assert int(said) == int(row["after"]) != int(row["label"])
        assert float(row["linf"]) <= 51 / 255 + 1e-6
    # They are an image folder that other commands take.
    saved = load_test_images(f"folder:{out}/{turned[0]['file'].split('/')[0]}", size=12)
    assert len(saved) == len(turned)


def test_labels_and_a_class_that_is_wanted(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--reveals", "labels", "--target", "8", "--images", "12", "--json", "-"]
    assert attack(model, *arguments, "--queries", "3000") == 0
    (result,) = json.loads(capfd.readouterr().out)["attacks"]
    assert result["attack"] == "hopskipjump" and result["queries"] <= 3000
    assert "the budget of 3000 queries is spent" in result["remark"]
    assert result["success"]["rate"] > 0


def test_several_attacks_and_curves_of_all_norms(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    curve = tmp_path / "curve.png"
    assert attack(model, "--images", "5", "--curve", str(curve), "--no-controls") == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert shown.count("smallest") == 3
    arguments = ["--attack", "fgsm", "--attack", "random-squares", "--images", "5"]
    assert attack(model, *arguments, "--no-controls") == 0
    shown = capfd.readouterr().out
    assert "fgsm" in shown and "random-squares" in shown


def test_a_mask_is_painted_and_nothing_else(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = np.zeros((12, 12), np.uint8)
    picture[3:8, 3:9] = 255
    Image.fromarray(picture).save(tmp_path / "mask.png")
    arguments = ["--images", "20", "--mask", str(tmp_path / "mask.png"), "--json", "-"]
    assert attack(model, *arguments) == 0
    painted, chance = json.loads(capfd.readouterr().out)["attacks"]
    assert (painted["attack"], chance["attack"]) == ("masked", "random colours")
    assert painted["success"]["rate"] > chance["success"]["rate"]
    assert painted["median_size"]["l0"] <= 30
    for drawn in ("glasses", "sticker"):
        asked = ["--images", "3", "--mask", drawn, "--reveals", "confidences", "--json", "-"]
        assert attack(model, *asked) == 0
        assert json.loads(capfd.readouterr().out)["attacks"][0]["attack"] == "swarm"


def test_a_mask_that_does_not_fit_is_one_line(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((12, 12), np.uint8)).save(tmp_path / "empty.png")
    Image.fromarray(np.full((8, 9), 255, np.uint8)).save(tmp_path / "small.png")
    for mask, more, code, said in (
        ("empty.png", [], 4, "got 0 pixels"),
        ("small.png", [], 4, "expected 12x12 pixels, as the images have, got 9x8"),
        ("none.png", [], 2, "none.png"),
        ("empty.png", ["--reveals", "labels"], 4, "weights or confidences, got labels"),
        ("empty.png", ["--norm", "l2"], 4, "no --attack, --norm"),
    ):
        assert attack(model, "--mask", str(tmp_path / mask), *more) == code
        assert said in one_line(capfd)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--attack", "pdg"], 4, "--attack: expected one of fgsm"),
        (["--epsilon", "2"], 4, "epsilon: expected above 0, at most 1"),
        (["--epsilon", "8/0"], 4, "--epsilon: expected a number such as 0.03 or 8/255"),
        (["--epsilon", "nan"], 4, "epsilon: expected above 0"),
        (
            ["--norm", "l7"],
            4,
            "norm of attack auto-projected-gradient: expected linf or l2, got l7",
        ),
        (["--attack", "ddn", "--attack", "pgd", "--epsilon", "1"], 4, "one norm for all attacks"),
        (["--attack", "autoattack", "--target", "3"], 4, "no target"),
        (["--target", "dog"], 4, "--target: expected a class of the model (0, 1"),
        (["--reveals", "everything"], 4, "--reveals: expected weights, confidences"),
        (["--reveals", "labels", "--attack", "pgd"], 4, "a target that reveals weights"),
        (["--images", "0"], 4, "--images: expected 1 or more"),
        (["--queries", "-1"], 4, "0 or more, got -1"),
        (["--contract", "missing.toml"], 2, "missing.toml"),
        (["--json", "MODEL"], 2, "holds something else"),
        (["--out", "MODEL"], 2, "model"),
        (["--clean", "mnist", "--data-root", "nowhere"], 4, "mnist"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], code: int, said: str, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = [str(model) if word == "MODEL" else word for word in arguments]
    assert attack(model, *given) == code
    assert said in one_line(capfd)


def test_a_model_without_gradients_is_attacked_by_what_it_reveals(
    digits: TrainTest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = _onnx(digits, tmp_path)
    contract = tmp_path / "contract.toml"
    contract.write_text(
        "input_shape = [1, 12, 12]\nclasses = 10\nvalue_range = [0, 1]\nmean = [0]\nstd = [1]\n"
    )
    given = ["--contract", str(contract), "--images", "8"]
    assert attack(path, *given, "--reveals", "weights") == 3
    assert "the model gives no gradients" in one_line(capfd)
    assert attack(path, *given, "--epsilon", "0.3") == 0
    assert "confidences, L∞" in " ".join(capfd.readouterr().out.split())


def test_a_model_whose_answers_are_not_finite_is_refused(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = load_model(model)
    last = [module for module in broken.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.fill_(torch.nan)
    save_model(broken, tmp_path / "broken.safetensors")
    assert attack(tmp_path / "broken.safetensors", "--images", "8") == 4
    assert "input contract" in one_line(capfd)


def _onnx(digits: TrainTest, folder: Path) -> Path:
    """Write a linear classifier as ONNX."""
    rows = digits.train.pixels().flatten(1)
    means = torch.stack([rows[digits.train.labels == c].mean(0) for c in range(10)])
    bias = -0.5 * (means**2).sum(1)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["rows"]),
            helper.make_node("Gemm", ["rows", "means", "bias"], ["logits"], transB=1),
        ],
        "nearest-mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, 12, 12])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [
            numpy_helper.from_array(means.numpy(), "means"),
            numpy_helper.from_array(bias.numpy(), "bias"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(made, folder / "mean.onnx")
    return folder / "mean.onnx"
