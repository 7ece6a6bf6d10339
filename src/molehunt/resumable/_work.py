"""What is done for each task, and how doing it may end early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict


class WorkerDiedError(Exception):
    """A process that did a task is gone, and nobody does the task in its place."""


class Task(BaseModel):
    """One piece of work with a name that no other piece of the same build has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str


T = TypeVar("T", bound=Task)
R = TypeVar("R", bound=Task)
C = TypeVar("C")


class Work(NamedTuple, Generic[T, R, C]):
    """What is done for each task.

    Parameters
    ----------
    build : callable
        From a task and the context to its record; a function of a module, for processes.
    record : type
        Of the records, to read them back.
    setup : callable
        Returns the context (images, plan, folder) in a process of its own, once; a
        function of a module.
    arguments : tuple
        Of `setup`, small enough to be sent to a process.
    in_folder : callable, optional
        From a context and a folder to the same context with the results in that folder; a
        function of a module. Only a Ray cluster needs it, and only work whose tasks read
        nothing of each other's can have it.
    build_together : callable, optional
        From several tasks and the context to their records, for tasks that one process does
        faster together.
    reading : object, optional
        pydantic's context in which records are read back.
    """

    build: Callable[[T, C], R]
    record: type[R]
    setup: Callable[..., C]
    arguments: tuple[Any, ...]
    in_folder: Callable[[C, Path], C] | None = None
    build_together: Callable[[Sequence[T], C], list[R]] | None = None
    reading: Any = None
