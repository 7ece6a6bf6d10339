"""The checks that need no fitting, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from molehunt.detectors import TwinComparison, detector_class, detector_names, new_detector
from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.scanning._check import Check
from molehunt.scanning._detector_check import DetectorCheck

# Beside the detectors that need no zoo; each is called with `asked_for`, `minutes` and its
# settings.
CHECKS: dict[str, Callable[..., Check]] = {
    "twins": lambda asked_for, minutes, **settings: DetectorCheck(
        "twins", TwinComparison(**settings), asked_for=asked_for, minutes=minutes
    ),
}


def new_check(
    name: str, *, asked_for: bool = True, minutes: float | None = None, **settings: Any
) -> Check:
    """Return a check that needs no fitting, by name and with its settings.

    `asked_for` and `minutes` are as in `DetectorCheck`.

    Raises
    ------
    InvalidRequestError
        For an unknown name or setting, or a detector that has to be fitted first.

    Examples
    --------
    >>> new_check("final-layer").name
    'final-layer'
    """
    if name in CHECKS:
        return CHECKS[name](asked_for=asked_for, minutes=minutes, **settings)
    fitting = [each for each in detector_names() if not detector_class(each).needs_zoo]
    if name not in fitting:
        fitted = ", which has to be fitted on a zoo first" if name in detector_names() else ""
        got = f"{printable(name, 80)}{fitted}"
        raise InvalidRequestError(mismatch("check", ", ".join([*CHECKS, *fitting]), got))
    detector = new_detector(name, **settings)
    return DetectorCheck(name, detector, asked_for=asked_for, minutes=minutes)
