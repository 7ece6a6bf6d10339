"""Run a guard in front of a model as an HTTP server; it needs the extra ``guard``."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field
from typing import Any

from molehunt.errors import InvalidRequestError, mismatch, need_extra
from molehunt.guard._connections import timed_protocol
from molehunt.guard._desk import Answering, Desk
from molehunt.guard._guard import Guard
from molehunt.guard._keys import Keys
from molehunt.guard._limits import Limits
from molehunt.guard._metrics import Metrics
from molehunt.networks import Classifier

_BACKLOG = 512
_IDLE_SECONDS = 15  # between two requests of a connection


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
