"""A guarded model as a service: everything that each of its processes needs."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from molehunt.errors import InvalidRequestError, MolehuntError, mismatch
from molehunt.guard._calibration import Calibration
from molehunt.guard._guard import Action, Guard
from molehunt.guard._open_store import open_store
from molehunt.guard._server import Serving, make_server
from molehunt.guard._workers import run_workers
from molehunt.networks import Classifier
from molehunt.scanning import open_model
from molehunt.subjects import Opening


@dataclass(frozen=True)
class Service:
    """A guard in front of a model, to be served by one process or several.

    Parameters
    ----------
    source : str
        A model file, or the URL of an endpoint.
    calibration : Calibration
        Monitors with thresholds.
    serving : Serving
    opening : Opening
        The input contract as you state it, and which set of weights is meant.
    action : Action
    store : str
        As in `open_store`.
    forget_after : float
        Seconds without a query after which an account is forgotten.
    device : str
    """

    source: str
    calibration: Calibration
    serving: Serving = field(default_factory=Serving)
    opening: Opening = field(default_factory=Opening)
    action: Action = Action.BLOCK
    store: str = "memory"
    forget_after: float = 30 * 86_400.0
    device: str = "cpu"

    def run(
        self,
        listening: socket.socket,
        model: Classifier,
        *,
        workers: int = 1,
        ready: Callable[[], None] = lambda: None,
    ) -> int:
        """Serve until Ctrl-C or SIGTERM, and return an exit code.

        Parameters
        ----------
        listening : socket
        model : Classifier
            The opened `source`; several workers open it again, each for itself.
        workers : int
            Processes.
        ready : callable
            Called when all that can be wrong was looked at, before the first answer.

        Raises
        ------
        InvalidRequestError
            If the monitors were calibrated for other images, the extra ``guard`` is missing, or
            several workers would share a store that only one process can have.
        OutputError
            If the store cannot be opened.
        """
        expected, got = self.calibration.input_shape, model.card.input_shape
        if expected != got:
            raise InvalidRequestError(mismatch("calibration: images", f"shape {got}", expected))
        if workers < 1:
            raise InvalidRequestError(mismatch("`workers`", "1 or more", workers))
        if workers > 1 and not self.store.startswith(("redis://", "rediss://")):
            allowed = "redis://HOST:PORT/NUMBER, which they can share"
            raise InvalidRequestError(
                mismatch(f"`store` of {workers} workers", allowed, self.store)
            )
        guard = self.guard()  # what is wrong with the store is said here, once
        server = make_server(model, guard, self.serving)
        ready()
        if workers > 1:
            return run_workers(partial(_work, self), listening, workers)
        server.run(sockets=[listening])
        return 0

    def guard(self) -> Guard:
        """Return the guard with its store, which is opened.

        Raises
        ------
        InvalidRequestError, OutputError
            As `open_store`.
        """
        monitors = self.calibration.monitors
        store = open_store(
            self.store,
            monitors,
            accounts=self.serving.limits.accounts,
            forget_after=self.forget_after,
        )
        return Guard(monitors, store, action=self.action)


def name_in_url(source: str) -> str:
    """Return a name for a model file or an endpoint that a URL can hold.

    Examples
    --------
    >>> name_in_url("models/my model.safetensors")
    'my-model'
    """
    stem = source.rpartition("/")[2].partition("?")[0].rpartition(".")[0] or Path(source).name
    return re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-.")[:100] or "model"


def _work(service: Service, listening: socket.socket) -> None:
    """Serve as one process of several."""
    try:
        torch.set_num_threads(1)
        model = open_model(service.source, opening=service.opening, device=service.device)
        make_server(model, service.guard(), service.serving).run(sockets=[listening])
    except MolehuntError as error:
        sys.exit(f"molehunt: {error}")
    except KeyboardInterrupt:
        return
