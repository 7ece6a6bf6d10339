"""Doing the tasks that have no record yet."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from molehunt.errors import BuildInterruptedError, InvalidRequestError, OutputError, mismatch
from molehunt.progress import Progress, silent
from molehunt.resumable._index import cut_torn_line, locked, open_own, read_records
from molehunt.resumable._processes import in_processes, one_thread
from molehunt.resumable._ray import RayCluster, on_ray
from molehunt.resumable._work import C, R, T, Task, Work, WorkerDiedError

_log = logging.getLogger(__name__)


def build_missing(
    tasks: Sequence[T],
    index: Path,
    work: Work[T, R, C],
    *,
    context: C,
    workers: int | RayCluster,
    at_once: int = 1,
    progress: Progress = silent,
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
    workers : int or RayCluster
        Processes; 1 stays in this process. Or the cluster that does it. A task is computed with
        one thread wherever it is done, so that results do not depend on their number.
    at_once : int
        Tasks that this process does together with `work.build_together`; their records are
        appended together. More than 1 has one worker.
    progress : callable
        Called after each new record with the number of finished tasks and their total.

    Raises
    ------
    InvalidRequestError
        If `workers` is less than 1, the cluster cannot be used, or `index` has a record of
        a task with the same name and other settings.
    OutputError
        If the folder cannot be written, or another build is at work in it.
    BuildInterruptedError
        After Ctrl-C or the death of a worker.
    """
    folder = index.parent
    check_workers(workers)
    with locked(folder):
        cut_torn_line(index)
        found = {record.id: record for record in read_records(index, work.record, work.reading)}
        missing = [task for task in tasks if task.id not in found]
        finished = len(tasks) - len(missing)
        if finished:
            _log.info("%s: %d of %d are there already", folder, finished, len(tasks))
        for task in tasks:
            if task.id in found:
                _check_same(task, found[task.id], index)
        try:
            with (
                open_own(index, "ab") as stream,
                closing(_records(missing, work, context, workers, folder, at_once)) as fresh,
            ):
                for record in fresh:
                    stream.write(record.model_dump_json().encode() + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                    finished += 1
                    progress(finished, len(tasks))
        except (KeyboardInterrupt, WorkerDiedError) as error:
            cause = "interrupted" if isinstance(error, KeyboardInterrupt) else "a worker died"
            raise BuildInterruptedError(
                f"{folder}: {cause}; {finished} of {len(tasks)} pieces are whole on disk; "
                "the same command goes on from there"
            ) from error
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    by_id = {record.id: record for record in read_records(index, work.record, work.reading)}
    return [by_id[task.id] for task in tasks]


def _check_same(task: Task, record: Task, index: Path) -> None:
    """Refuse a record of other settings; records that do not repeat their task's are taken."""
    if not isinstance(record, type(task)):
        return
    wanted = task.model_dump(mode="json")
    stored = record.model_dump(mode="json", include=set(wanted))
    for name, value in wanted.items():
        if stored[name] != value:
            asked, got = f"as asked for ({value!r}), or another folder", repr(stored[name])
            raise InvalidRequestError(mismatch(f"{index}: {name} of {task.id}", asked, got))


def _records(
    tasks: Sequence[T],
    work: Work[T, R, C],
    context: C,
    workers: int | RayCluster,
    folder: Path,
    at_once: int,
) -> Generator[R, None, None]:
    """Yield the records of tasks as they are finished, wherever they are done."""
    if isinstance(workers, RayCluster):
        if tasks:
            yield from on_ray(tasks, work, folder, workers)
    elif min(workers, len(tasks)) > 1:
        yield from in_processes(tasks, work, min(workers, len(tasks)))
    elif at_once > 1:
        assert work.build_together is not None, "this work is done one by one"
        for first in range(0, len(tasks), at_once):
            with one_thread():
                together = work.build_together(tasks[first : first + at_once], context)
            yield from together
    else:
        for task in tasks:
            with one_thread():  # sums depend on the number of threads
                record = work.build(task, context)
            yield record


def check_workers(workers: int | RayCluster | None) -> None:
    """Refuse a number of processes under 1; None stands for one a core.

    Raises
    ------
    InvalidRequestError
    """
    if isinstance(workers, int) and workers < 1:
        raise InvalidRequestError(mismatch("workers", "1 or more", workers))
