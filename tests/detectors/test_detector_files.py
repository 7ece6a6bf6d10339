"""Detector files come from strangers: what does not fit is refused in one line that names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from molehunt.cli import run
from molehunt.detectors import (
    MaximumMargin,
    NoisePatterns,
    load_detector,
    name_of,
    new_detector,
    register_detector,
    save_detector,
)
from molehunt.errors import InvalidRequestError, OutputError, UnreadableFileError

PATTERNS, CLASSES, SHAPE, MODELS = 2, 3, (1, 4, 4), 20


def parts() -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and card of a detector of noise patterns; everything in them fits."""
    rng = np.random.default_rng(0)
    features = PATTERNS * CLASSES
    arrays = {
        "patterns_": rng.random((PATTERNS, *SHAPE), dtype=np.float32),
        "weights_": rng.normal(size=features),
        "fitted_features_": rng.normal(size=(8, features)),
        "calibration_features_": rng.normal(size=(MODELS, features)),
        "calibration_scores_": rng.normal(size=MODELS),
    }
    learned = {
        **{"input_shape_": [*SHAPE], "num_classes_": CLASSES, "threshold_": 1.0},
        **{"bias_": 0.1, "typical_distance_": 2.0},
    }
    card = {"detector": "noise", "settings": {"n_patterns": PATTERNS}, "learned": learned}
    return arrays, card


def write(path: Path, arrays: dict[str, np.ndarray], card: dict | str) -> Path:
    text = card if isinstance(card, str) else json.dumps(card)
    save_file(arrays, path, metadata={"molehunt.detector": text})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableFileError) as caught:
        load_detector(path)
    message = str(caught.value)
    assert "\n" not in message and message.isprintable() and len(message) < 1500
    return message


def test_a_file_in_which_everything_fits_is_read(tmp_path: Path) -> None:
    detector, _ = load_detector(write(tmp_path / "d", *parts()))
    assert detector.p_values([1e9])[0] == pytest.approx(1 / (MODELS + 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [*parts()[0]])
def test_arrays_that_are_not_finite_are_refused(tmp_path: Path, name: str, value: float) -> None:
    arrays, card = parts()
    arrays[name].flat[-1] = value
    assert f"{name}: expected finite numbers" in refusal(write(tmp_path / "d", arrays, card))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("calibration_scores_", np.zeros((MODELS, 1))),
        ("calibration_scores_", np.zeros(0)),
        ("calibration_scores_", np.zeros(MODELS + 1)),
        ("calibration_scores_", np.zeros(MODELS, dtype=np.complex64)),
        ("calibration_features_", np.zeros((MODELS, 5))),
        ("fitted_features_", np.zeros((0, 6))),
        ("fitted_features_", np.zeros(6)),
        ("weights_", np.zeros(7)),
        ("weights_", np.zeros((6, 1))),
        ("patterns_", np.zeros((PATTERNS, 1, 4, 5), dtype=np.float32)),
        ("patterns_", np.zeros((PATTERNS + 1, *SHAPE), dtype=np.float32)),
        ("patterns_", np.full((PATTERNS, *SHAPE), 1.5, dtype=np.float32)),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(tmp_path: Path, name, array) -> None:
    arrays, card = parts()
    arrays[name] = array
    message = refusal(write(tmp_path / "d", arrays, card))
    # Of two that do not fit each other, one is named.
    assert any(known in message for known in [name, "calibration_", "weights_"])


@pytest.mark.parametrize("name", ["weights_", "patterns_", "fitted_features_"])
def test_an_array_that_is_missing_or_no_array_is_named(tmp_path: Path, name: str) -> None:
    arrays, card = parts()
    del arrays[name]
    message = refusal(write(tmp_path / "missing", arrays, card))
    assert name in message or "not fitted" in message
    card["learned"][name] = [1.0, 2.0]
    assert f"{name}: expected an array" in refusal(write(tmp_path / "list", arrays, card))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold_", float("nan")),
        ("threshold_", "high"),
        ("bias_", float("inf")),
        ("bias_", None),
        ("typical_distance_", [1.0]),
        ("input_shape_", [1, 4]),
        ("input_shape_", [1, -4, 4]),
        ("input_shape_", [1, 10**15, 4]),
        ("num_classes_", 10**12),
        ("num_classes_", 2.5),
        ("num_classes_", 1),
        ("more_", "x" * 200_000),
        ("more_", [[[[[[1]]]]]]),
        ("more_", list(range(20_000))),
        ("__class__", 1),
    ],
)
def test_single_values_that_no_fit_gives_are_refused(tmp_path: Path, name: str, value) -> None:
    arrays, card = parts()
    card["learned"][name] = value
    assert name in refusal(write(tmp_path / "d", arrays, card))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("n_patterns", value) for value in ("many", 10**9, 2.5, float("inf"), None)),
        *(("features", value) for value in (3, "raw", None)),
        *(("inverse_strength", value) for value in ("x", float("nan"))),
        ("\x1b[31mcolour", "red"),
    ],
)
def test_settings_of_another_type_or_immense_are_refused(tmp_path: Path, name, value) -> None:
    arrays, card = parts()
    card["settings"][name] = value
    assert name.removeprefix("\x1b") in refusal(write(tmp_path / "d", arrays, card))


@pytest.mark.parametrize(
    "card",
    [
        '{"detector": "noise", "settings": {}, "learned": {"bias_": ' + "9" * 5000 + "}}",
        '{"detector": "noise", "settings": {}, "learned": {"a_": ' + "[" * 5000 + "]" * 5000 + "}}",
        '{"detector": "' + "n" * 9_000 + '", "settings": {}, "learned": {}}',
        '{"detector": "[/red]\\u001b[2J", "settings": {}, "learned": {}}',
        "[" * 100_000,
        "not JSON",
    ],
)
def test_cards_that_are_deep_long_or_garbage_are_one_line(tmp_path: Path, card: str, capfd) -> None:
    path = write(tmp_path / "d.safetensors", parts()[0], card)
    refusal(path)
    (tmp_path / "model.safetensors").write_bytes(path.read_bytes())
    assert run(["scan", str(tmp_path / "model.safetensors"), "-d", str(path)]) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "internal error" not in lines[0] and "\x1b" not in lines[0]


def test_rates_of_the_card_are_shares(tmp_path: Path) -> None:
    arrays, card = parts()
    auc = {"auc": 1.0, "interval": [0.9, 1.0]}
    evaluation = {
        **{"clean": 1, "backdoored": 1, "placebos": 0, "auc": auc, "placebo": None},
        **{"max_false_alarms": 0.05, "accuracy": 1.0, "false_alarm_rate": 0.0},
        **{"detection_rate": 1.0, "roc": [[0.0], [1.0]], "seconds_per_model": 0.1},
    }
    load_detector(write(tmp_path / "fits", arrays, {**card, "evaluation": evaluation}))
    for name, value in (("detection_rate", np.nan), ("accuracy", 7.0), ("clean", 10**30)):
        wrong = {**card, "evaluation": {**evaluation, name: value}}
        assert f"evaluation.{name}" in refusal(write(tmp_path / "d", arrays, wrong))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    assert str(path) in refusal(path)


class TwiceAsLoud(NoisePatterns):
    """A detector that somebody else wrote."""


class Unknown(MaximumMargin):
    """A detector that nobody made known."""


def test_a_detector_of_ones_own_is_saved_and_read_once_it_is_known(tmp_path: Path) -> None:
    arrays, card = parts()
    ours, _ = load_detector(write(tmp_path / "noise", arrays, card))
    own = TwiceAsLoud(n_patterns=PATTERNS)
    vars(own).update({k: v for k, v in vars(ours).items() if k.endswith("_")})
    with pytest.raises(InvalidRequestError, match=r'register_detector\("a-name", TwiceAsLoud\)'):
        save_detector(own, tmp_path / "own")
    assert not (tmp_path / "own").exists()
    # Where it is not known, the file says which name is wanted.
    theirs = write(tmp_path / "theirs", arrays, {**card, "detector": "twice-as-loud"})
    assert "twice-as-loud" in refusal(theirs)
    assert "register_detector" in refusal(theirs)
    register_detector("twice-as-loud", TwiceAsLoud)
    register_detector("twice-as-loud", TwiceAsLoud)
    save_detector(own, tmp_path / "own")
    for file in (tmp_path / "own", theirs):
        loaded, card_read = load_detector(file)
        assert type(loaded) is TwiceAsLoud
        assert name_of(loaded) == card_read.detector == "twice-as-loud"
        np.testing.assert_array_equal(loaded.calibration_scores_, own.calibration_scores_)


@pytest.mark.parametrize("name", ["noise", "", "a b", "[/red]", "x" * 100])
def test_names_that_are_taken_or_none_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="name of a detector"):
        register_detector(name, TwiceAsLoud)


@pytest.mark.parametrize("kind", [int, "noise", None])
def test_only_detectors_are_registered(kind: object) -> None:
    with pytest.raises(InvalidRequestError, match="a subclass of Detector"):
        register_detector("other", kind)


def test_a_detector_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    detector = new_detector("margin")
    detector.odd_ = object()
    with pytest.raises(OutputError, match="plain values"):
        save_detector(detector, tmp_path / "d")
    assert not [*tmp_path.iterdir()]


def test_a_plugin_is_known_to_the_command_line_of_the_same_program(tmp_path: Path) -> None:
    """What registers itself before the command line runs can be named there."""
    code = (
        "from molehunt.detectors import NoisePatterns, register_detector\n"
        "class Loud(NoisePatterns): pass\n"
        "register_detector('loud', Loud)\n"
        "from molehunt.cli import run\n"
        "raise SystemExit(run(['fit', '--help']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loud" in done.stdout
