"""The index of finished tasks: a line each, and one build at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from molehunt.errors import (
    InvalidRequestError,
    OutputError,
    UnreadableFileError,
    from_validation,
)
from molehunt.files import write_text
from molehunt.resumable._work import R


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
    if not path.exists():
        write_text(path, asked.model_dump_json(indent=2) + "\n")
        return
    try:
        stored = type(asked).model_validate_json(path.read_bytes())
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror}") from error
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


def read_records(index: Path, record: type[R]) -> list[R]:
    """Read the finished records; a last line that a kill cut short does not count.

    Raises
    ------
    UnreadableFileError
        If a whole line is not a record; the message gives its number.
    """
    try:
        lines = index.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # whole lines end in a newline
        try:
            records.append(record.model_validate_json(line))
        except ValidationError as error:
            raise UnreadableFileError(
                str(from_validation(error, f"{index}, line {number}"))
            ) from error
    return records


def cut_torn_line(index: Path) -> None:
    """Cut a last line without its newline off the index, so that the next one stands alone."""
    if index.exists():
        content = index.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            with index.open("r+b") as stream:
                stream.truncate(whole)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one build; the lock goes with the process, however it ends."""
    try:
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{folder}: another build is at work in it") from error
        yield
