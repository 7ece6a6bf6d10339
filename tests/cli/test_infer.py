"""``molehunt attack infer``: what it writes, and how bad input ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from molehunt.cli import run
from molehunt.images import load_images
from molehunt.networks import build_classifier, save_model
from molehunt.training import Recipe, train
from tests.cli.test_cli import one_line

RECIPE = Recipe(epochs=20, batch_size=64, lr=0.01)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    digits = load_images("digits").train
    made = build_classifier(
        "mlp", digits, arguments={"hidden": [16]}, recipe=RECIPE.model_dump(), seed=0
    )
    train(made, digits, RECIPE, seed=0)
    path = tmp_path_factory.mktemp("infer") / "model.safetensors"
    save_model(made, path)
    return path


def infer(model: Path, *arguments: str) -> int:
    sets = ["--members", "digits", "--non-members", "digits"]
    return run(["attack", "infer", str(model), *sets, *arguments])


def test_shadow_models_are_trained_as_the_card_says(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document, roc, folder = tmp_path / "r.json", tmp_path / "roc.png", tmp_path / "shadows"
    arguments = ["--shadows", "4", "--recipe", "epochs=2", "--images", "200", "--roc", str(roc)]
    arguments += ["--shadow-folder", str(folder), "--json", str(document)]
    assert infer(model, *arguments) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "Shadow models: 4 of mlp, 2 epochs each" in shown
    assert "0.1 % false positives cannot be told: 200 non-members tell 0.005" in shown
    assert roc.read_bytes().startswith(b"\x89PNG")
    found = json.loads(document.read_text())
    assert found["exit_code"] == 0 and found["shadows"] == 4
    attacks = {each["attack"]: each for each in found["attacks"]}
    assert list(attacks) == ["loss-threshold", "label-robustness", "lira", "rmia"]
    assert attacks["loss-threshold"]["queries"] == attacks["lira"]["queries"] == 400
    assert attacks["rmia"]["queries"] == 400 + 150  # a third of 450 are the population
    for each in attacks.values():
        assert each["members"] == each["non_members"] == 200
        assert 0.4 < each["auc"]["interval"][0] < each["auc"]["value"]
        assert each["tpr"]["0.001"] is None
    assert len([*folder.glob("shadow-*.safetensors")]) == 4
    assert infer(model, *arguments, "--recipe", "epochs=3") == 4
    assert "it differs in recipe" in one_line(capfd)


def test_without_shadows_and_with_a_budget(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert infer(model, "--images", "50", "--queries", "100", "--json", "-") == 3
    first, second = json.loads(capfd.readouterr().out)["attacks"]
    assert first["status"] == "measured" and second["status"] == "not measured"
    assert "the budget of 100 queries is spent" in second["remark"]
    assert infer(model, "--images", "50", "--reveals", "labels", "--json", "-") == 0
    (only,) = json.loads(capfd.readouterr().out)["attacks"]
    assert (only["attack"], only["reveals"]) == ("label-robustness", "labels")


def test_members_are_no_non_members(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    digits = load_images("digits").train
    for label in range(10):
        (tmp_path / str(label)).mkdir()
    for number in range(40):
        image = digits.images[number, 0].numpy()
        Image.fromarray(image).save(tmp_path / str(int(digits.labels[number])) / f"{number}.png")
    sets = ["--members", "digits", "--non-members", f"folder:{tmp_path}"]
    assert run(["attack", "infer", str(model), *sets]) == 4
    out, error = capfd.readouterr()
    assert "40 of the non-members are members, too" in out
    assert "2 or more of each, all different, got 1347 and 0" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--attack", "lira"], "attack lira: expected a number of --shadows"),
        (["--attack", "x"], "--attack: expected one of loss-threshold"),
        (["--shadows", "3"], "expected an even number from 2, got 3"),
        (["--shadows", "2", "--network", "x"], "expected"),
        (["--shadows", "2", "--recipe", "epochs=no"], "recipe of the shadow models"),
        (["--shadows", "2", "--recipe", "epochs"], "--recipe: expected NAME=VALUE"),
        (["--reveals", "weights"], "--reveals: expected confidences, rounded, labels"),
        (["--images", "1"], "--images: expected 2 or more"),
    ],
)
def test_bad_input_is_one_line(
    model: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert infer(model, *arguments) == 4
    assert said in one_line(capfd)
