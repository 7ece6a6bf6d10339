from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.errors import ExitCode
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, save_model
from molehunt.training import Recipe, train


@pytest.fixture(scope="module")
def model(digits: TrainTest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = build_classifier("strided", digits.train, arguments={"width": 4}, seed=0)
    train(made, digits.train, Recipe(epochs=4, batch_size=64), seed=0)
    path = tmp_path_factory.mktemp("certify") / "model.safetensors"
    save_model(made, path)
    return path


def certify(model: Path, *more: str) -> int:
    return run(["certify", str(model), "--clean", "digits", "--images", "40", *more])


def test_certified_stands_beside_attacked(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: dict[str, dict[str, int]] = {}
    for method in ("ibp", "crown-ibp"):
        path = tmp_path / f"{method}.json"
        options = ["--method", method, "--epsilon", "5/255", "--json", str(path)]
        assert certify(model, *options) == ExitCode.CLEAN
        content = json.loads(path.read_text())
        found = content["found"]
        assert content["settings"]["epsilon"] == pytest.approx(5 / 255)
        shown[method] = {name: each["count"] for name, each in found.items()}
        counts = shown[method]
        assert counts["certified"] <= counts["right under attack"] <= counts["right"] <= 40
        assert found["right"]["interval"][0] <= counts["right"] / 40
    assert shown["ibp"]["certified"] < shown["crown-ibp"]["certified"]
    text = capsys.readouterr().out
    assert "Not covered" in text and f"{shown['ibp']['right']} of 40" in text


def test_smoothing_is_shown_over_radii(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--method", "smoothing", "--samples", "100", "--radius", "0.1,0.3", "--json", "-"]
    assert certify(model, *options) == ExitCode.CLEAN
    found = json.loads(capsys.readouterr().out)["found"]
    right, near, far, abstained = (each["count"] for each in found.values())
    assert list(found) == ["right", "certified at 0.1", "certified at 0.3", "abstained"]
    assert 0 <= far <= near <= right <= 40 - abstained and near > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "lp"], "--method: expected ibp, crown-ibp, crown, smoothing, got 'lp'"),
        (["--epsilon", "8"], "--epsilon: expected a number in [0, 1]"),
        (["--epsilon", "much"], "--epsilon: expected a number such as 0.03 or 8/255, got 'much'"),
        (["--method", "smoothing", "--sigma", "0"], "--sigma: expected a number above 0, got 0.0"),
        (["--method", "smoothing", "--alpha", "2"], "--alpha: expected a number in (0, 1)"),
        (["--method", "smoothing", "--samples", "0"], "noisy copies of an image: expected 1"),
        (["--method", "smoothing", "--radius", "a"], "--radius: expected numbers with ','"),
        (["--images", "0"], "--images: expected 1 or more, got 0"),
    ],
)
def test_impossible_requests_are_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert certify(model, *options) == ExitCode.USAGE
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error, error


def test_a_network_that_bounds_do_not_know_can_be_smoothed(
    digits: TrainTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build_classifier("zf", digits.train, arguments={"width": 0.1, "hidden": 32}, seed=0)
    train(made, digits.train, Recipe(epochs=3, batch_size=64), seed=0)
    save_model(made, tmp_path / "zf.safetensors")
    assert certify(tmp_path / "zf.safetensors") == ExitCode.INCONCLUSIVE
    assert "LocalResponseNorm" in capsys.readouterr().err
    options = ["--method", "smoothing", "--samples", "20", "--images", "2"]
    assert certify(tmp_path / "zf.safetensors", *options) == ExitCode.CLEAN
