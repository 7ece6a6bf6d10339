"""Several processes that serve at one socket."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from molehunt.guard._metrics import FOLDER

_log = logging.getLogger("molehunt.guard")
_TOO_EARLY = 10.0  # seconds: what ends before will not start at all


def run_workers(work: Callable[[socket.socket], None], listening: socket.socket, count: int) -> int:
    """Run `work` in several processes that share a socket, until Ctrl-C or SIGTERM.

    A process that ends is started again, but not where it ended within seconds: then it will
    never start, and all end.

    Parameters
    ----------
    work : callable
        Of one process; a function of a module, or a partial of one.
    listening : socket
    count : int

    Returns
    -------
    int
        0, or the exit code of a process that could not start.
    """
    spawn = multiprocessing.get_context("spawn")
    folder = tempfile.mkdtemp(prefix="molehunt-metrics-")
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = folder  # Prometheus' client sums over processes through files
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True

    old = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    started: dict[Any, float] = {}
    code = 0

    def start() -> None:
        process = spawn.Process(target=work, args=(listening,))
        process.start()
        started[process] = time.monotonic()

    try:
        for _ in range(count):
            start()
        while not ending:
            wait([process.sentinel for process in started], timeout=0.2)
            for process in [process for process in started if not process.is_alive()]:
                if ending:
                    break
                age = time.monotonic() - started.pop(process)
                if age < _TOO_EARLY:
                    code, ending = process.exitcode or 1, True
                    break
                _log.error("a worker ended with %s and is started again", process.exitcode)
                start()
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()
        for number, handler in old.items():
            signal.signal(number, handler)
        os.environ.pop(FOLDER) if before is None else os.environ.update({FOLDER: before})
        shutil.rmtree(folder, ignore_errors=True)
    return code
