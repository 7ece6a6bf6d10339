"""Long work that an interruption cannot undo.

Each finished task is one line of an index, appended when its result is whole on disk; a
call that finds lines goes on after them. Tasks run in processes that end with their parent.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from molehunt.errors import (
    InvalidRequestError,
    MolehuntError,
    OutputError,
    UnreadableFileError,
    from_validation,
    refused,
)


class BuildInterruptedError(MolehuntError):
    """A build was interrupted; the finished models are on disk and the same call goes on."""


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
    """

    build: Callable[[T, C], R]
    record: type[R]
    setup: Callable[..., C]
    arguments: tuple[Any, ...]


def build_missing(
    tasks: Sequence[T],
    index: Path,
    work: Work[T, R, C],
    *,
    context: C,
    workers: int,
    on_record: Callable[[R, int, int], None] | None = None,
) -> list[R]:
    """Do the tasks that have no record in `index` yet, and return the records of all.

    Parameters
    ----------
    tasks : sequence of Task
    index : path
        The file of records, a line each; its folder exists. Records of other tasks stay.
    work : Work
    context : object
        What `work.setup` would return, for tasks that are done in this process.
    workers : int
        Processes, each with one thread; 1 stays in this process.
    on_record : callable, optional
        Called with each new record, the number of finished tasks and their total.

    Raises
    ------
    InvalidRequestError
        If `workers` is less than 1.
    OutputError
        If the folder cannot be written, or another build is at work in it.
    BuildInterruptedError
        After Ctrl-C or the death of a worker.
    """
    check_workers(workers)
    folder, asked = index.parent, {task.id for task in tasks}
    with _locked(folder):
        _cut_torn_line(index)
        done = {record.id for record in read_records(index, work.record)} & asked
        missing = [task for task in tasks if task.id not in done]
        workers = min(workers, len(missing))
        fresh: Iterator[R]
        if workers <= 1:
            fresh = (work.build(task, context) for task in missing)
        else:
            fresh = _in_processes(missing, work, workers)
        finished = len(done)
        try:
            with index.open("a", encoding="utf-8") as stream:
                for record in fresh:
                    stream.write(record.model_dump_json() + "\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                    finished += 1
                    if on_record is not None:
                        on_record(record, finished, len(tasks))
        except (KeyboardInterrupt, BrokenProcessPool) as error:
            cause = "interrupted" if isinstance(error, KeyboardInterrupt) else "a worker died"
            raise BuildInterruptedError(
                f"{folder}: {cause}; {finished} of {len(tasks)} models are whole on disk; "
                "the same command goes on from there"
            ) from error
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    by_id = {record.id: record for record in read_records(index, work.record)}
    return [by_id[task.id] for task in tasks]


def check_workers(workers: int | None) -> None:
    """Refuse a number of processes under 1; None stands for one a core.

    Raises
    ------
    InvalidRequestError
    """
    if workers is not None and workers < 1:
        raise InvalidRequestError(refused("workers", "1 or more", workers))


def check_same_plan(path: Path, asked: BaseModel) -> None:
    """Refuse to go on with a build whose plan, stored at `path`, is not `asked`.

    Raises
    ------
    UnreadableFileError
        If the file is missing or not a plan of that type.
    InvalidRequestError
        If the plans differ; the message names the fields.
    """
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


def _cut_torn_line(index: Path) -> None:
    """Cut a last line without its newline off the index, so that the next one stands alone."""
    if index.exists():
        content = index.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            with index.open("r+b") as stream:
                stream.truncate(whole)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
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


def _in_processes(tasks: Sequence[T], work: Work[T, R, C], workers: int) -> Iterator[R]:
    """Yield the records of tasks that `workers` processes do, as they are finished."""
    pool = ProcessPoolExecutor(
        workers,
        mp_context=torch.multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(work, os.getpid()),
    )
    try:
        for future in as_completed([pool.submit(_do_in_worker, task) for task in tasks]):
            yield future.result()
    finally:
        # A build that ends early does not wait for the models in flight.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """What a worker process keeps from one task to the next."""

    work: Work[Any, Any, Any]
    context: Any


def _start_worker(work: Work[Any, Any, Any], parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    _Worker.work = work
    _Worker.context = work.setup(*work.arguments)


def _do_in_worker(task: Any) -> Any:
    return _Worker.work.build(task, _Worker.context)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed build leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
