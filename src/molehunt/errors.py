"""Everything that Molehunt refuses, as one family of exceptions.

Every message says what was wrong, what is allowed and what was got, in one line,
so that the command line can print it as it is.
"""

from __future__ import annotations

import importlib
import re
import reprlib
from enum import IntEnum
from types import ModuleType

from pydantic import ValidationError

# Characters of a stranger's text that a message shows: names may be megabytes long.
_LONGEST_SHOWN = 500
# What libraries advise is to load the file in a way that runs its code. Of torch's long text
# the reason stands behind the last of these, and its own advice after that.
_REASON = re.compile(r"WeightsUnpickler error:|Weights only load failed\.")
_ADVICE = re.compile(
    r"\s*(In PyTorch 2\.6, we changed|Please (use|file an issue)|Check the documentation"
    r"|This file can still be loaded|If you trust|To disable this|Set `?weights_only"
    r"|(when|with|unless|because) `*allow_pickle).*"
)
_UNSAFE = re.compile(r"weights_only|allow_pickle|pickle\.load|trust_remote_code")
_OWN_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_MOST_PROBLEMS = 20
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


class ExitCode(IntEnum):
    """Exit codes of the command line; 130 is the shells' code for Ctrl-C."""

    CLEAN = 0
    FOUND = 1
    FAILED = 2
    INCONCLUSIVE = 3
    USAGE = 4
    INTERRUPTED = 130


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


class BuildInterruptedError(MolehuntError):
    """A build was interrupted; what was finished is on disk and the same call goes on."""


class OutputError(MolehuntError):
    """A place that cannot be written, or that holds something else already."""


class MissingExtraError(InvalidRequestError):
    """A package that is needed for this and not installed; the message names the extra."""


def need_extra(extra: str, module: str, what: str) -> ModuleType:
    """Import `module`, which the extra `extra` installs, because `what` needs it.

    Raises
    ------
    MissingExtraError
        If it is not installed.

    Examples
    --------
    >>> need_extra("onnx", "json", "an ONNX file").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'{what} needs the extra "{extra}": pip install ".[{extra}]" in a checkout of Molehunt'
        ) from error


def printable(text: object, most: int = _LONGEST_SHOWN) -> str:
    """Return `text` in one line that a terminal can show: nothing moves its cursor.

    Control characters are escaped, and what is longer than `most` characters is cut: names in
    files come from strangers.

    Examples
    --------
    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    shown = str(text)
    if len(shown) > most:
        shown = f"{shown[:most]}…"
    if shown.isprintable():
        return shown
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in shown
    )


def reason_of(error: BaseException, most: int = 200) -> str:
    """Return what a library says of a file in one printable line, without its advice.

    torch and numpy advise to load what they refuse in a way that runs code.

    Examples
    --------
    >>> reason_of(ValueError("Object arrays cannot be loaded when allow_pickle=False"))
    'Object arrays cannot be loaded'
    """
    text = _REASON.split(" ".join(str(error).split()))[-1].strip()
    text = _ADVICE.sub("", _OWN_PREFIX.sub("", text)).strip()
    if not text or _UNSAFE.search(text):
        text = "it holds more than numbers and names of tensors"
    return printable(text, most)


def mismatch(what: str, allowed: object, got: object) -> str:
    """Return the message ``what: expected allowed, got got``."""
    return f"{what}: expected {allowed}, got {got}"


def from_validation(error: ValidationError, where: str) -> InvalidRequestError:
    """Turn pydantic's report into one line that names each wrong field of `where`."""
    problems = []
    found = error.errors(include_url=False, include_context=False)
    for item in found[:_MOST_PROBLEMS]:
        place = printable(".".join(str(part) for part in item["loc"]) or "value", 80)
        message = printable(item["msg"].removeprefix("Value error, "))
        # A value error of our own names what it got already.
        got = "" if item["type"] == "value_error" else f", got {_repr.repr(item.get('input'))}"
        problems.append(f"{place}: {message}{got}")
    if len(found) > _MOST_PROBLEMS:
        problems.append(f"and {len(found) - _MOST_PROBLEMS} more")
    return InvalidRequestError(f"{where}: " + "; ".join(problems))
