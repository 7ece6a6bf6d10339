"""Everything that Molehunt refuses, as one family of exceptions.

Every message says what was wrong, what is allowed and what was got, in one line,
so that the command line can print it as it is.
"""

from __future__ import annotations

from pydantic import ValidationError


class MolehuntError(Exception):
    """Base of all errors that Molehunt raises on purpose."""


class InvalidRequestError(MolehuntError, ValueError):
    """A setting, name or combination of settings that makes no sense."""


class DataNotFoundError(MolehuntError):
    """A data set that is not where it was looked for; the message says how to get it."""


class UnreadableFileError(MolehuntError):
    """A file that is missing, truncated, garbage, or not what it claims to be."""


class UnsafeFileError(MolehuntError):
    """A file that would run code if it were loaded; it was not loaded."""


class CodeNotTrustedError(MolehuntError):
    """A model file that is code by nature; nobody said that it may run, so it did not."""


class UnsuitableSubjectError(MolehuntError):
    """A model that a detector cannot judge: other input shape, other classes, not finite."""


class OutputError(MolehuntError):
    """A place that cannot be written, or that holds something else already."""


def refused(what: str, allowed: object, got: object) -> str:
    """Return the message ``what: expected allowed, got got``."""
    return f"{what}: expected {allowed}, got {got}"


def from_validation(error: ValidationError, where: str) -> InvalidRequestError:
    """Turn pydantic's report into one line that names each wrong field of `where`."""
    problems = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"]) or "value"
        message = item["msg"].removeprefix("Value error, ")
        # A value error of our own names what it got already.
        got = "" if item["type"] == "value_error" else f", got {item.get('input')!r:.80}"
        problems.append(f"{place}: {message}{got}")
    return InvalidRequestError(f"{where}: " + "; ".join(problems))
