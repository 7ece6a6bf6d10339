"""``molehunt attack steal`` and ``invert``: what they write, also through a live endpoint."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molehunt.cli import run
from molehunt.images import load_images
from molehunt.networks import build_classifier, load_model, logits_of, save_model
from molehunt.training import Recipe, train
from tests.cli.test_cli import one_line
from tests.subjects.servers import Said, images_of, outputs, serve

DIGITS = load_images("digits")
CONTRACT = """
input_shape = [1, 8, 8]
class_names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
mean = [0]
std = [1]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build_classifier("mlp", DIGITS.train, arguments={"hidden": []}, seed=0)
    train(network, DIGITS.train, Recipe(epochs=5, batch_size=64), seed=0)
    path = tmp_path_factory.mktemp("victim") / "digits.safetensors"
    save_model(network, path)
    return path


def steal(model: object, out: Path, *arguments: str) -> int:
    return run(["attack", "steal", str(model), "--clean", "digits", "-o", str(out), *arguments])


def test_a_live_endpoint_is_stolen_with_a_question_a_pixel(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    victim, asked_about = load_model(model), []

    def post(_path: str, asked: dict, _headers: dict) -> Said:
        images = images_of(asked).view(-1, 1, 8, 8)
        asked_about.append(len(images))
        with torch.no_grad():
            return 200, {"outputs": [outputs(victim(images))]}, {}

    (tmp_path / "contract.toml").write_text(CONTRACT)
    copy, document = tmp_path / "copy.safetensors", tmp_path / "r.json"
    about = {"/v2/models/m": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}]}}
    with serve(post, about) as url:
        arguments = ["--contract", str(tmp_path / "contract.toml"), "--json", str(document)]
        arguments += ["--attack", "equation-solving", "--epsilon", "51/255"]
        assert steal(f"{url}/v2/models/m/infer", copy, *arguments) == 0
    found = json.loads(document.read_text())
    assert found["queries"] == 65 and found["reveals"] == "confidences"
    assert found["agreement"]["clean"]["rate"] == 1
    assert found["agreement"]["uniform"]["rate"] > 0.99
    evaded = found["evasion"]
    assert evaded["success"]["rate"] > 0.5 and evaded["attacked"] > 80
    # The file is the copy: it agrees with the original on images that nobody asked about.
    test = DIGITS.test.images
    same = logits_of(load_model(copy), test).argmax(1) == logits_of(victim, test).argmax(1)
    assert bool(same.all())
    assert sum(asked_about) > 65  # who measures asks, too
    shown = " ".join(capfd.readouterr().out.split())
    assert "65 queries (confidences)" in shown and "fools the original" in shown


def test_labels_are_enough_to_train_a_copy(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.safetensors"
    arguments = ["--reveals", "labels", "--queries", "150", "--network", "mlp", "--epsilon", "0"]
    assert steal(model, copy, *arguments, "--json", "-") == 0
    found = json.loads(capfd.readouterr().out)
    assert found["queries"] == 150 and found["reveals"] == "labels" and found["evasion"] is None
    assert found["agreement"]["clean"]["rate"] > 0.6
    assert steal(model, copy, *arguments) == 0  # an earlier copy is replaced


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--attack", "guess"], 4, "--attack: expected query-and-train, equation-solving"),
        (["--reveals", "weights"], 4, "who sees weights need not steal them, got weights"),
        (["--reveals", "all"], 4, "--reveals: expected weights, confidences"),
        (["--choice", "best"], 4, "--choice: expected random, uncertain, line-search"),
        (["--queries", "0"], 4, "queries: expected 1 or more, got 0"),
        (["--queries", "100000"], 4, "100000 or more uint8 images"),
        (["--network", "lstm"], 4, "network: expected"),
        (["--attack", "equation-solving", "--queries", "20"], 4, "65 or more, got 20"),
        (["--attack", "equation-solving", "--reveals", "labels"], 3, "labels only"),
        (["--epsilon", "2"], 4, "--epsilon: expected 0 to 1, got 2"),
        (["--epsilon", "x"], 4, "--epsilon: expected a number"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list, code: int, said: str, model: Path, tmp_path: Path, capfd
) -> None:
    assert steal(model, tmp_path / "copy.safetensors", *arguments) == code
    assert said in one_line(capfd)
    assert not (tmp_path / "copy.safetensors").exists()


def test_what_is_no_copy_is_not_replaced(model: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "notes").write_text("mine")
    for out, said in (
        (model, "is the original"),
        (tmp_path / "notes", "holds something else"),
        (tmp_path, "a file for the copy"),
    ):
        assert steal(model, out) == 2
        assert said in one_line(capfd)
    assert (tmp_path / "notes").read_text() == "mine"


def test_classes_are_drawn_and_nobody_is_said_to_know_them(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, document = tmp_path / "pictures", tmp_path / "r.json"
    asked = ["attack", "invert", str(model), "-o", str(out), "--class", "3", "--class", "0"]
    assert run([*asked, "--steps", "20", "--json", str(document)]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "122 queries (weights)" in shown and "nobody else has judged the pictures" in shown
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["class"] for row in rows] == ["3", "0"]
    found = json.loads(document.read_text())
    assert found["judged_by"] is None and len(found["classes"]) == 2
    victim = load_model(model)
    for row in rows:
        pixels = torch.from_numpy(np.array(Image.open(out / row["file"])))
        answers = logits_of(victim, pixels.view(1, 1, 8, 8)).softmax(1)[0]
        confidence = float(answers[int(row["class"])])
        assert confidence == pytest.approx(float(row["confidence"]), abs=1e-4)
    asked = ["attack", "invert", str(model), "-o", str(out), "--reveals", "confidences"]
    assert run([*asked, "--queries", "50", "--cell", "2", "--views", "1", "--json", "-"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["queries"] <= 50 and "the budget of 50 queries is spent" in found["note"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--class", "dog"], 4, "--class: expected a class of the model (0, 1"),
        (["--prior", "gan"], 4, "--prior: expected pixels or deep-image, got gan"),
        (["--reveals", "labels"], 3, "steal a copy first"),
        (["--steps", "-1"], 4, "steps: expected 1 to"),
        (["--cell", "0"], 4, "cell: expected 1 to"),
        (["--queries", "1"], 2, "the budget of 1 queries is spent"),
        (["--json", "MODEL"], 2, "holds something else"),
        (["--contract", "missing.toml"], 2, "missing.toml"),
    ],
)
def test_an_impossible_inversion_is_one_line(
    arguments: list, code: int, said: str, model: Path, tmp_path: Path, capfd
) -> None:
    arguments = [str(model) if each == "MODEL" else each for each in arguments]
    assert run(["attack", "invert", str(model), "-o", str(tmp_path / "out"), *arguments]) == code
    assert said in one_line(capfd)
