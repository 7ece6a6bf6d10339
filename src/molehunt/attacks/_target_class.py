"""The class that a backdoor leads to."""

from __future__ import annotations

from molehunt.errors import InvalidRequestError, mismatch


def check_target(target: int, classes: int) -> None:
    """Refuse what is none of so many classes.

    Raises
    ------
    InvalidRequestError
        With the classes that there are.
    """
    if not 0 <= target < classes:
        raise InvalidRequestError(mismatch("target", f"a class from 0 to {classes - 1}", target))
