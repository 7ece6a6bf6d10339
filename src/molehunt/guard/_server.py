"""Run a guard in front of a model as an HTTP server; it needs the extra ``guard``."""

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
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from molehunt.errors import InvalidRequestError, mismatch, need_extra
from molehunt.guard._connections import timed_protocol
from molehunt.guard._desk import Answering, Desk
from molehunt.guard._guard import Guard
from molehunt.guard._keys import Keys
from molehunt.guard._limits import Limits
from molehunt.guard._metrics import Metrics
from molehunt.networks import Classifier

_log = logging.getLogger("molehunt.guard")
_BACKLOG = 512
_IDLE_SECONDS = 15  # between two requests of a connection
_TOO_EARLY = 10.0  # seconds: what ends before will not start at all
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True)
class Serving:
    """How a guarded model is served.

    Parameters
    ----------
    name : str
        Of the model, in URLs.
    answering : Answering
    keys : Keys, optional
        Without them each client address is an account.
    limits : Limits
    pause : float
        Seconds an image that a throttled account waits before it may ask again.
    """

    name: str = "model"
    answering: Answering = Answering.CONFIDENCES
    keys: Keys | None = None
    limits: Limits = field(default_factory=Limits)
    pause: float = 1.0


def make_server(model: Classifier, guard: Guard | None, serving: Serving) -> Any:
    """Return a `uvicorn.Server` that answers for a model; give `run` a socket that listens.

    Parameters
    ----------
    model : Classifier
    guard : Guard, optional
        Without one nothing is watched: what a guard costs is measured so.
    serving : Serving

    Raises
    ------
    InvalidRequestError
        If the extra ``guard`` is missing, or the model reveals less than `serving` says.
    """
    uvicorn = need_extra("guard", "uvicorn", "a server")
    need_extra("guard", "starlette", "a server")
    # Imported here: it needs the extra.
    from molehunt.guard._app import App  # noqa: PLC0415

    metrics = Metrics()
    desk = Desk(model, guard, answering=serving.answering, pause=serving.pause, metrics=metrics)
    app = App(desk, name=serving.name, keys=serving.keys, limits=serving.limits, metrics=metrics)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # clients write no logs
    config = uvicorn.Config(
        app.asgi(),
        http=timed_protocol(serving.limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client could choose its address, and so its account
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=int(serving.limits.request_seconds) + 1,
        backlog=_BACKLOG,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises
    ------
    InvalidRequestError
        If the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # asyncio does so for sockets that it opens only. Answers go in two pieces, and the second
        # would wait 40 ms for the first to be acknowledged.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequestError(
            mismatch("host and port", "an address that is free", f"{host}:{port} ({reason})")
        ) from error


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
    before = os.environ.get(_MULTIPROCESS)
    os.environ[_MULTIPROCESS] = folder  # Prometheus' client sums over processes through files
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
        os.environ.pop(_MULTIPROCESS) if before is None else os.environ.update(
            {_MULTIPROCESS: before}
        )
        shutil.rmtree(folder, ignore_errors=True)
    return code
