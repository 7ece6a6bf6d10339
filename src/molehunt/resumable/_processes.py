"""Tasks in processes of this machine, which end with their parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import torch

from molehunt.resumable._work import C, R, T, Work, WorkerDiedError


def in_processes(tasks: Sequence[T], work: Work[T, R, C], workers: int) -> Generator[R, None, None]:
    """Yield the records of tasks that `workers` processes do, as they are finished.

    Raises
    ------
    WorkerDiedError
    """
    pool = ProcessPoolExecutor(
        workers,
        mp_context=torch.multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(work, os.getpid()),
    )
    try:
        for future in as_completed([pool.submit(_do_in_worker, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise WorkerDiedError from error
    finally:
        # A build that ends early does not wait for the models in flight.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as the processes do: numbers do not depend on the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
