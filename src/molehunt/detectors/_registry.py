"""Detectors by name: the built-in ones, those of installed packages, and registered ones.

A file or a command line gives a name and nothing more: what is imported for it is what this
table, an installed package's entry point or the running program says.
"""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from molehunt.detectors._base import Detector
from molehunt.errors import InvalidRequestError, mismatch, printable

GROUP = "molehunt.detectors"

# A new detector is a file and a line here.
_BUILT_IN = {
    "litmus": "_litmus:LitmusPatterns",
    "noise": "_noise:NoisePatterns",
    "statistics": "_statistics:WeightStatistics",
    "unit-statistics": "_unit_statistics:UnitStatistics",
    "final-layer": "_final_layer:FinalLayer",
    "margin": "_margin:MaximumMargin",
    "neural-cleanse": "_neural_cleanse:NeuralCleanse",
    "pairwise": "_pairwise:PairwiseTriggers",
    "wrong-predictions": "_wrong_predictions:WrongPredictions",
}
_registered: dict[str, type[Detector]] = {}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,79}")


def detector_names() -> list[str]:
    """Return the names of all detectors that are known here; none is imported."""
    installed = {point.name for point in entry_points(group=GROUP) if _NAME.fullmatch(point.name)}
    return [*dict.fromkeys([*_BUILT_IN, *sorted(installed), *_registered])]


def detector_class(name: str) -> type[Detector]:
    """Import a detector's class by its name.

    Raises
    ------
    InvalidRequestError
        If there is none of that name, two installed packages bring one, or it cannot be imported.
    """
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        point = EntryPoint(name, f"{__package__}.{_BUILT_IN[name]}", GROUP)
    else:
        found = tuple(entry_points(group=GROUP, name=name)) if _NAME.fullmatch(name) else ()
        if len(found) != 1:
            allowed = (
                f"{', '.join(detector_names())}; another is known once its package is installed "
                "or register_detector was called"
            )
            got = printable(repr(name), 80)
            if found:
                got += f", which {' and '.join(sorted(_package_of(p) for p in found))} bring"
            raise InvalidRequestError(mismatch("detector", allowed, got))
        (point,) = found
    try:
        kind = point.load()
    except Exception as error:  # another package's code: it raises what it likes
        message = printable(" ".join(str(error).split()), 200)
        raise InvalidRequestError(
            f"detector {name} of {_package_of(point)}: {point.value} cannot be imported: {message}"
        ) from error
    return _as_kind(f"detector {name} of {_package_of(point)}", kind)


def new_detector(name: str, **settings: Any) -> Detector:
    """Return an unfitted detector by name.

    Raises
    ------
    InvalidRequestError
        For an unknown name or setting.
    """
    kind = detector_class(name)
    unknown = set(settings) - set(kind._get_param_names())
    if unknown:
        allowed = ", ".join(kind._get_param_names())
        got = printable(", ".join(sorted(unknown)))
        raise InvalidRequestError(mismatch(f"settings of {name}", allowed or "none", got))
    return kind(**settings)


def register_detector(name: str, kind: type[Detector]) -> None:
    """Make a detector of your own known in this program, so that it can be saved and loaded.

    A package does it for every program, the command line too, with an entry point of the
    group ``molehunt.detectors``: ``my-noise = "my_package:MyNoise"``. Files of it hold its
    name, no code.

    Parameters
    ----------
    name : str
        Letters, digits and hyphens, as in files and on the command line.
    kind : type
        A subclass of `MetaClassifier` or `ZooFreeDetector`; its settings are plain values.

    Raises
    ------
    InvalidRequestError
        If the name is another detector's, or `kind` is no detector.

    Examples
    --------
    >>> from molehunt.detectors import NoisePatterns
    >>> class MyNoise(NoisePatterns):
    ...     pass
    >>> register_detector("my-noise", MyNoise)
    >>> new_detector("my-noise", n_patterns=3)
    MyNoise(n_patterns=3)
    """
    _as_kind("detector", kind)
    if not _NAME.fullmatch(name):
        allowed = "up to 80 letters, digits and hyphens"
        raise InvalidRequestError(mismatch("name of a detector", allowed, repr(name)))
    known = detector_class(name) if name in detector_names() else kind
    # A module that is loaded anew brings its classes anew.
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        got = f"{name!r}, which is {known.__qualname__}"
        raise InvalidRequestError(mismatch("name of a detector", "one that is free", got))
    _registered[name] = kind


def name_of(detector: Detector) -> str:
    """Return the name that the detector's class is known by.

    Raises
    ------
    InvalidRequestError
        If it is known by none.
    """
    kind = type(detector)
    for name in detector_names():
        with suppress(InvalidRequestError):  # another package's, and broken
            if detector_class(name) is kind:
                return name
    raise InvalidRequestError(
        f"{kind.__name__}: not known by name, so a file of it could not be read; "
        f'call register_detector("a-name", {kind.__name__}) first'
    )


def _as_kind(what: str, kind: object) -> type[Detector]:
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        got = printable(repr(kind), 80)
        raise InvalidRequestError(mismatch(what, "a subclass of Detector", got))
    return kind


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "molehunt"
