"""Each number of an assessment is repeated by the command line that it names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import skops.io
import torch
from sklearn.linear_model import LogisticRegression

from molehunt.assess import ASSESSORS
from molehunt.cli import run
from molehunt.images import TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, save_model
from molehunt.training import Recipe, train
from tests.subjects.servers import Said, images_of, outputs, serve

_NEVER = ("property",)
_TRAINED = (
    "stealing",
    "membership",
    "inversion",
    "poisoning",
)  # dear by their copies, not by their queries
MEASURED = [name for name in ASSESSORS if name not in _NEVER]


def trained(digits: TrainTest) -> Classifier:
    vgg, recipe = {"width": 4, "stages": [1, 1]}, Recipe(epochs=4, batch_size=64)
    model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    train(model, digits.train, recipe, seed=0)
    return model


@pytest.fixture(scope="module")
def whole(digits: TrainTest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("assessed")
    model = trained(digits)
    path = folder / "model.safetensors"
    save_model(model, path)
    risks: list[dict[str, Any]] = []
    for names, queries in ((_TRAINED, 4500), (set(ASSESSORS) - set(_TRAINED), 16_000)):
        document = folder / f"{queries}.json"
        options = ["--clean", "digits", "--members", "digits", "--seed", "1"]
        options += ["--keep", str(folder / "kept"), "--json", str(document)]
        only = [word for name in sorted(names) for word in ("--only", name)]
        assert run(["assess", str(path), *options, "--queries", str(queries), *only]) == 0
        risks += json.loads(document.read_text())["risks"]
    return {risk["name"]: risk for risk in risks}


@pytest.mark.parametrize("name", MEASURED)
def test_the_command_of_a_risk_repeats_its_numbers(
    whole: dict[str, Any], name: str, tmp_path: Path
) -> None:
    risk, document = whole[name], tmp_path / "alone.json"
    assert risk["status"] != "not assessed", risk["why"]
    program, *words = shlex.split(risk["command"])
    assert program == "molehunt"
    # Kept elsewhere, it is measured anew.
    assert run([*words, "--keep", str(tmp_path / "kept"), "--json", str(document)]) == 0
    (alone,) = json.loads(document.read_text())["risks"]
    assert alone["measures"] == risk["measures"] and alone["words"] == risk["words"]
    assert alone["price"]["queries"] == risk["price"]["queries"]


def test_what_was_not_measured_names_no_command(whole: dict[str, Any]) -> None:
    assert [whole[name]["command"] for name in _NEVER] == [""]


class Asked:
    """A server in front of a model, and the images that it was sent."""

    def __init__(self, digits: TrainTest) -> None:
        self.model, self.images = trained(digits).freeze(), 0

    def __call__(self, _path: str, content: dict[str, Any], _headers: dict[str, str]) -> Said:
        images = images_of(content)
        self.images += len(images)
        with torch.no_grad():
            return 200, {"outputs": [outputs(self.model(images))]}, {}


def test_an_endpoint_is_asked_no_more_than_it_says_and_its_commands_repeat_it(
    digits: TrainTest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contract, document = tmp_path / "contract.toml", tmp_path / "whole.json"
    names = list(digits.train.class_names)
    contract.write_text(
        f"input_shape = [1, 12, 12]\nmean = [0.0]\nstd = [1.0]\nclass_names = {json.dumps(names)}"
    )
    asked = Asked(digits)
    with serve(asked) as host:
        words = ["assess", f"{host}/v2/models/m/infer", "--contract", str(contract)]
        words += ["--clean", "digits", "--only", "boundary", "--only", "corner-cases"]
        kept = ["--keep", str(tmp_path / "kept")]
        assert run([*words, "--queries", "3000", *kept, "--json", str(document)]) == 0
        found = json.loads(document.read_text())
        said = found["queries"]
        prices = [risk["price"] for risk in found["risks"]]
        assert said["opening"] + sum(price["queries"] for price in prices) == said["spent"] <= 3000
        # Neither of these risks takes images that whoever measures asks about beside.
        assert asked.images == said["spent"] > 0.8 * 3000
        assert f"was asked about {asked.images:,} images" in capfd.readouterr().out
        for risk in found["risks"]:
            _, *again = shlex.split(risk["command"])
            alone = tmp_path / "alone.json"
            assert run([*again, "--keep", str(tmp_path / "other"), "--json", str(alone)]) == 0
            (repeated,) = json.loads(alone.read_text())["risks"]
            assert repeated["measures"] == risk["measures"] and risk["status"] == "measured"
        assert run([*words, "--queries", "500", *kept]) == 4
    assert "that opening the model took, got 500" in capfd.readouterr().err


def test_the_commands_of_a_skops_file_repeat_its_numbers(tmp_path: Path) -> None:
    eight = load_images("digits").train
    rows = eight.pixels().flatten(1).numpy()
    path, document = tmp_path / "model.skops", tmp_path / "whole.json"
    skops.io.dump(LogisticRegression(max_iter=200).fit(rows, eight.labels.numpy()), path)
    words = ["assess", str(path), "--clean", "digits", "--queries", "2000", "--json", str(document)]
    words += ["--only", "evasion-linf", "--only", "corner-cases"]
    assert run([*words, "--keep", str(tmp_path / "kept")]) == 0
    for risk in json.loads(document.read_text())["risks"]:
        assert risk["status"] != "not assessed", risk["why"]
        alone = tmp_path / "alone.json"
        _, *again = shlex.split(risk["command"])
        assert run([*again, "--keep", str(tmp_path / "other"), "--json", str(alone)]) == 0
        (repeated,) = json.loads(alone.read_text())["risks"]
        assert repeated["measures"] == risk["measures"]
