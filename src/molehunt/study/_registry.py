"""The studies that are installed, by the entry points that name them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.study._study import Study

GROUP = "molehunt.studies"


def study_names() -> list[str]:
    """Return the names of all installed studies; none of them is imported."""
    return sorted(point.name for point in entry_points(group=GROUP))


def load_study(name: str) -> Study[Any, Any]:
    """Import a study.

    Raises
    ------
    InvalidRequestError
        If there is none of that name.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        allowed = ", ".join(study_names()) or "none: no package here brings studies"
        raise InvalidRequestError(mismatch("study", allowed, repr(name)))
    study: Study[Any, Any] = next(iter(found)).load()
    return study
