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
from molehunt.errors import InvalidRequestError, mismatch, printable

_LARGEST_COUNT = 1_000_000  # of steps, images, patterns: what a setting may ask for
_MOST_CLASSES = 1_000_000
_LARGEST_SIDE = 100_000  # pixels or channels
_LONGEST_TEXT = 100_000  # characters; an architecture with its arguments is one
_MOST_VALUES = 10_000  # in a list
_DEEPEST = 4


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
            raise InvalidRequestError(mismatch(name, what, _shown(value)))
        if isinstance(default, str) and not isinstance(value, str | list | tuple):
            raise InvalidRequestError(mismatch(name, "a text", _shown(value)))
        if number and name != "random_state" and abs(value) > _LARGEST_COUNT:
            allowed = f"at most {_LARGEST_COUNT}"
            raise InvalidRequestError(mismatch(name, allowed, _shown(value)))


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
            _check_array(name, value, detector.axes.get(name))
        elif name != "contract_":
            _check_plain(name, value, infinite=name == "threshold_")
    missing = sorted(detector.learned - learned.keys())
    if missing:
        raise InvalidRequestError(mismatch("what it learned", ", ".join(missing), "none"))
    _check_axes(learned, detector.axes)
    _check_single_values(detector)
    detector.check_learned()


def _check_array(name: str, array: NDArray[Any], axes: str | None) -> None:
    if array.dtype.kind not in "fiub":
        raise InvalidRequestError(mismatch(f"type of {name}", "real numbers", array.dtype))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidRequestError(mismatch(name, "finite numbers", "NaN or infinity"))
    if axes is not None and (array.ndim != len(axes) or not array.size):
        allowed = f"{len(axes)} axes, none of them empty"
        raise InvalidRequestError(mismatch(f"shape of {name}", allowed, array.shape))


def _check_axes(learned: Mapping[str, Any], known_axes: Mapping[str, str]) -> None:
    """Refuse arrays that do not fit each other, and one that is no array."""
    lengths: dict[str, tuple[int, str]] = {}
    for name, axes in known_axes.items():
        if name not in learned:
            continue
        array = learned[name]
        if not isinstance(array, np.ndarray):
            raise InvalidRequestError(mismatch(name, "an array", _shown(array)))
        for axis, length in zip(axes, array.shape, strict=True):
            known, where = lengths.setdefault(axis, (length, name))
            if known != length:
                allowed = f"{known} where {where} has {known}"
                raise InvalidRequestError(mismatch(f"shape of {name}", allowed, array.shape))


def _check_single_values(detector: Detector) -> None:
    """Refuse single values that no fit gives."""
    shape, classes = detector.input_shape_, detector.num_classes_
    if not (
        isinstance(shape, tuple)
        and len(shape) == 3
        and all(_is_number(side, whole=True) and 0 < side <= _LARGEST_SIDE for side in shape)
    ):
        raise InvalidRequestError(
            mismatch("input_shape_", "channels, height and width", _shown(shape))
        )
    if not (_is_number(classes, whole=True) and 1 < classes <= _MOST_CLASSES):
        allowed = f"2 to {_MOST_CLASSES}"
        raise InvalidRequestError(mismatch("num_classes_", allowed, _shown(classes)))
    check_number("threshold_", detector.threshold_)
    contract = getattr(detector, "contract_", None)
    if contract is not None and not len(contract.mean) == len(contract.std) == shape[0]:
        allowed = f"mean and std of {shape[0]} channels"
        raise InvalidRequestError(mismatch("contract", allowed, len(contract.mean)))


def check_number(name: str, value: object) -> None:
    """Refuse a learned value that is no number.

    Raises
    ------
    InvalidRequestError
    """
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        raise InvalidRequestError(mismatch(name, "a number", _shown(value)))


def _check_plain(name: str, value: object, *, infinite: bool = False, depth: int = 0) -> None:
    """Refuse a value of JSON that is immense or NaN."""
    if (
        isinstance(value, float)
        and not math.isfinite(value)
        and (math.isnan(value) or not infinite)
    ):
        raise InvalidRequestError(mismatch(printable(name, 80), "a finite number", value))
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        allowed = f"at most {_LONGEST_TEXT} characters"
        raise InvalidRequestError(mismatch(printable(name, 80), allowed, len(value)))
    if isinstance(value, int) and value.bit_length() > 64:
        raise InvalidRequestError(mismatch(printable(name, 80), "a number of 64 bits", "a larger"))
    if isinstance(value, Mapping | list | tuple):
        if len(value) > _MOST_VALUES or depth >= _DEEPEST:
            allowed = f"at most {_MOST_VALUES} values, {_DEEPEST} deep"
            raise InvalidRequestError(mismatch(printable(name, 80), allowed, "more"))
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
