"""What a detector file may hold: it comes from a stranger as often as a model does.

A null of NaN would make every model's p-value 1, and every model clean.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.detectors._base import Detector
from molehunt.detectors._meta_classifier import MetaClassifier
from molehunt.detectors._patterns import PatternDetector
from molehunt.detectors._statistics import WeightStatistics
from molehunt.errors import InvalidRequestError, printable, refused

_LARGEST_COUNT = 1_000_000  # of steps, images, patterns: what a setting may ask for
_MOST_CLASSES = 1_000_000
_LARGEST_SIDE = 100_000  # pixels or channels
_LONGEST_TEXT = 100_000  # characters; an architecture with its arguments is one
_MOST_VALUES = 10_000  # in a list
_DEEPEST = 4

# Axes of the arrays; one letter stands for one length in all of them.
_AXES = {
    "calibration_scores_": "n",
    "calibration_features_": "nF",
    "fitted_features_": "NF",
    "weights_": "F",
    "patterns_": "MCHW",
}


def check_settings(kind: type[Detector], settings: Mapping[str, Any]) -> None:
    """Refuse settings of a file that are of another type than the detector's own, or immense.

    Raises
    ------
    InvalidRequestError
        With the setting.
    """
    parameters = inspect.signature(kind).parameters
    for name, value in settings.items():
        _check_plain(name, value)
        default = parameters[name].default if name in parameters else None
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if number and not _is_number(value, whole=isinstance(default, int)):
            what = "a whole number" if isinstance(default, int) else "a finite number"
            raise InvalidRequestError(refused(name, what, _shown(value)))
        if isinstance(default, str) and not isinstance(value, str | list | tuple):
            raise InvalidRequestError(refused(name, "a text", _shown(value)))
        if number and name != "random_state" and abs(value) > _LARGEST_COUNT:
            allowed = f"at most {_LARGEST_COUNT}"
            raise InvalidRequestError(refused(name, allowed, _shown(value)))


def check_learned(detector: Detector) -> None:
    """Refuse learned attributes that are missing, not finite, or of another shape or type.

    Raises
    ------
    InvalidRequestError
        With the attribute.
    """
    learned = {name: value for name, value in vars(detector).items() if name.endswith("_")}
    for name, value in learned.items():
        if isinstance(value, np.ndarray):
            _check_array(name, value)
        elif name != "contract_":
            _check_plain(name, value, infinite=name == "threshold_")
    missing = sorted(_wanted(detector) - learned.keys())
    if missing:
        raise InvalidRequestError(refused("what it learned", ", ".join(missing), "none"))
    _check_axes(learned)
    _check_kind(detector)


def _wanted(detector: Detector) -> set[str]:
    """Return what a detector of that kind cannot judge without."""
    wanted = {"threshold_", "input_shape_", "num_classes_", detector.learns}
    if isinstance(detector, MetaClassifier):
        wanted |= {"bias_", "fitted_features_"}
    if isinstance(detector, PatternDetector):
        wanted.add("patterns_")
    if isinstance(detector, WeightStatistics):
        wanted.add("architecture_")
    if "calibration_scores_" in vars(detector) and isinstance(detector, MetaClassifier):
        wanted.add("typical_distance_")
    return wanted


def _check_array(name: str, array: NDArray[Any]) -> None:
    if array.dtype.kind not in "fiub":
        raise InvalidRequestError(refused(f"type of {name}", "real numbers", array.dtype))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidRequestError(refused(name, "finite numbers", "NaN or infinity"))
    axes = _AXES.get(name)
    if axes is not None and (array.ndim != len(axes) or not array.size):
        allowed = f"{len(axes)} axes, none of them empty"
        raise InvalidRequestError(refused(f"shape of {name}", allowed, array.shape))


def _check_axes(learned: Mapping[str, Any]) -> None:
    """Refuse arrays that do not fit each other, and one that is no array."""
    lengths: dict[str, tuple[int, str]] = {}
    for name, axes in _AXES.items():
        if name not in learned:
            continue
        array = learned[name]
        if not isinstance(array, np.ndarray):
            raise InvalidRequestError(refused(name, "an array", _shown(array)))
        for axis, length in zip(axes, array.shape, strict=True):
            known, where = lengths.setdefault(axis, (length, name))
            if known != length:
                allowed = f"{known} where {where} has {known}"
                raise InvalidRequestError(refused(f"shape of {name}", allowed, array.shape))


def _check_kind(detector: Detector) -> None:
    """Refuse single values that no fit gives."""
    shape, classes = detector.input_shape_, detector.num_classes_
    if not (
        isinstance(shape, tuple)
        and len(shape) == 3
        and all(_is_number(side, whole=True) and 0 < side <= _LARGEST_SIDE for side in shape)
    ):
        raise InvalidRequestError(
            refused("input_shape_", "channels, height and width", _shown(shape))
        )
    if not (_is_number(classes, whole=True) and 1 < classes <= _MOST_CLASSES):
        allowed = f"2 to {_MOST_CLASSES}"
        raise InvalidRequestError(refused("num_classes_", allowed, _shown(classes)))
    for name in ("threshold_", "bias_", "typical_distance_"):
        value = getattr(detector, name, 0.0)
        if not isinstance(value, int | float | np.number) or isinstance(value, bool):
            raise InvalidRequestError(refused(name, "a number", _shown(value)))
    patterns = getattr(detector, "patterns_", None)
    if patterns is not None and patterns.shape[1:] != shape:
        allowed = f"images of {shape}, as input_shape_"
        raise InvalidRequestError(refused("shape of patterns_", allowed, patterns.shape))
    if isinstance(detector, PatternDetector):
        _check_patterns(detector)
    if not isinstance(getattr(detector, "architecture_", ""), str):
        raise InvalidRequestError(refused("architecture_", "a text", "something else"))
    contract = getattr(detector, "contract_", None)
    if contract is not None and not len(contract.mean) == len(contract.std) == shape[0]:
        allowed = f"mean and std of {shape[0]} channels"
        raise InvalidRequestError(refused("contract", allowed, len(contract.mean)))


def _check_patterns(detector: PatternDetector) -> None:
    """Refuse patterns that are no images, and a head that does not fit the answers to them."""
    patterns = detector.patterns_
    if patterns.min() < 0 or patterns.max() > 1:
        raise InvalidRequestError(refused("patterns_", "pixels in [0, 1]", "others"))
    detector._check_settings()
    rows = len(patterns) if detector.pooling == "concatenate" else 1
    features = rows * detector.num_classes_
    if len(detector.weights_) != features:
        got = detector.weights_.shape
        raise InvalidRequestError(refused("shape of weights_", f"({features},)", got))


def _check_plain(name: str, value: object, *, infinite: bool = False, depth: int = 0) -> None:
    """Refuse a value of JSON that is immense or NaN."""
    if (
        isinstance(value, float)
        and not math.isfinite(value)
        and (math.isnan(value) or not infinite)
    ):
        raise InvalidRequestError(refused(printable(name, 80), "a finite number", value))
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        allowed = f"at most {_LONGEST_TEXT} characters"
        raise InvalidRequestError(refused(printable(name, 80), allowed, len(value)))
    if isinstance(value, int) and value.bit_length() > 64:
        raise InvalidRequestError(refused(printable(name, 80), "a number of 64 bits", "a larger"))
    if isinstance(value, Mapping | list | tuple):
        if len(value) > _MOST_VALUES or depth >= _DEEPEST:
            allowed = f"at most {_MOST_VALUES} values, {_DEEPEST} deep"
            raise InvalidRequestError(refused(printable(name, 80), allowed, "more"))
        parts: Sequence[object] = (
            [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        )
        for part in parts:
            _check_plain(name, part, depth=depth + 1)


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) if whole else math.isfinite(value)


def _shown(value: object) -> str:
    return printable(repr(value), 80)
