"""The index of finished tasks: a line each, and one build at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ValidationError

from molehunt.errors import (
    InvalidRequestError,
    OutputError,
    UnreadableFileError,
    from_validation,
    mismatch,
)
from molehunt.files import write_text
from molehunt.resumable._work import R

_NO_FILE = "a link, a pipe or a device"


def store_plan(path: Path, asked: BaseModel) -> None:
    """Store the plan of a build at `path`; refuse to go on with one of another plan.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    UnreadableFileError
        If the file there is not a plan of that type.
    InvalidRequestError
        If the plans differ; the message names the fields.
    """
    if not os.path.lexists(path):
        write_text(path, asked.model_dump_json(indent=2) + "\n")
        return
    try:
        with open_own(path, "rb") as stream:
            stored = type(asked).model_validate_json(stream.read())
    except ValidationError as error:
        detail = from_validation(error, str(path))
        raise UnreadableFileError(f"not a readable plan: {detail}") from error
    differing = [
        name for name in type(asked).model_fields if getattr(stored, name) != getattr(asked, name)
    ]
    if differing:
        raise InvalidRequestError(
            f"{path.parent}: holds another plan's models (it differs in {', '.join(differing)}); "
            "expected the same plan to go on with it, or another folder"
        )


def read_records(index: Path, record: type[R], context: Any = None) -> list[R]:
    """Read the finished records; a last line that a kill cut short does not count.

    `context` is pydantic's, for records whose validators ask for one.

    Raises
    ------
    UnreadableFileError
        If a whole line is not a record; the message gives its number.
    """
    if not os.path.lexists(index):
        return []
    with open_own(index, "rb") as stream:
        lines = stream.read().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # whole lines end in a newline
        try:
            records.append(record.model_validate_json(line, context=context))
        except ValidationError as error:
            raise UnreadableFileError(
                str(from_validation(error, f"{index}, line {number}"))
            ) from error
    return records


def cut_torn_line(index: Path) -> None:
    """Cut a last line without its newline off the index, so that the next one stands alone."""
    if os.path.lexists(index):
        with open_own(index, "r+b") as stream:
            content = stream.read()
            whole = content.rfind(b"\n") + 1
            if whole != len(content):
                stream.truncate(whole)


def open_own(path: Path, mode: Literal["rb", "r+b", "ab"]) -> BinaryIO:
    """Open a file of a build's folder, which may be a stranger's: links are not followed.

    Nothing outside the folder is read or written, and opening never waits.

    Raises
    ------
    UnreadableFileError
        If a link, a pipe or a device is in its place.
    OutputError
        If it cannot be opened.
    """
    flags = {"rb": os.O_RDONLY, "r+b": os.O_RDWR, "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT}
    try:
        descriptor = os.open(
            path, flags[mode] | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644
        )
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO) or path.is_symlink():
            raise UnreadableFileError(mismatch(f"{path}", "a file of its own", _NO_FILE)) from error
        raise OutputError(f"{path}: cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFileError(mismatch(f"{path}", "a file of its own", _NO_FILE))
    return os.fdopen(descriptor, mode)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one build; the lock goes with the process, however it ends."""
    with open_own(folder / ".lock", "ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{folder}: another build is at work in it") from error
        yield
