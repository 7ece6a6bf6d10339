"""Each number of an assessment is repeated by the command line that it names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from molehunt.assess import ASSESSORS
from molehunt.cli import run
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, save_model
from molehunt.training import Recipe, train

_NEVER = ("property",)
_TRAINED = (
    "stealing",
    "membership",
    "inversion",
    "poisoning",
)  # dear by their copies, not by their queries
MEASURED = [name for name in ASSESSORS if name not in _NEVER]


@pytest.fixture(scope="module")
def whole(digits: TrainTest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("assessed")
    vgg, recipe = {"width": 4, "stages": [1, 1]}, Recipe(epochs=4, batch_size=64)
    model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    train(model, digits.train, recipe, seed=0)
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
