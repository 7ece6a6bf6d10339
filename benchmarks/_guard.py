"""A guarded server beside a bare one: requests a second, and how long the slowest take."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from molehunt.guard import (
    Action,
    Calibration,
    Guard,
    Keys,
    Limits,
    Prada,
    Serving,
    calibrate,
    listen,
    make_server,
    new_key,
    open_store,
    usual_monitors,
)
from molehunt.images import ImageSet, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.training import Recipe, train

ACCOUNTS, CLIENTS, RATE = 8, 4, 200
REQUESTS = 2000
FILLING = 1000  # queries of each account before the clock starts: all windows are full
PATH = "/v2/models/model/infer"


@dataclass(frozen=True)
class Made:
    """Files of a guarded MNIST network, keys of accounts, and honest queries."""

    folder: Path
    keys: tuple[str, ...]
    queries: ImageSet


def make(folder: Path, accounts: int = ACCOUNTS) -> Made:
    """Train a small network, and calibrate all four monitors at 0.1 % false alarms."""
    images = load_images("mnist", data_root=Path(os.environ["MOLEHUNT_DATA"]))
    some = images.train.take(torch.arange(5000))
    model = build_classifier("badnets-mnist", some, seed=0)
    train(model, some, Recipe(epochs=1), seed=0)
    save_model(model, folder / "model.safetensors")
    honest = images.train.take(torch.arange(10_000, 20_000))
    monitors = (*usual_monitors(salt=1), Prada())
    labels = logits_of(model, honest.images).argmax(1)
    calibrate(monitors, honest.pixels(), labels, false_alarms=0.001).save(folder / "guard.json")
    keys = tuple(new_key(f"account-{number}", folder / "keys") for number in range(accounts))
    return Made(folder, keys, images.test)


def serve(folder: Path, store: str | None, accounts: int, listening: socket.socket) -> None:
    """Serve the network in this process: guarded, or bare where `store` is none."""
    torch.set_num_threads(1)
    model: Classifier = load_model(folder / "model.safetensors")
    guard = None
    if store is not None:
        monitors = Calibration.read(folder / "guard.json").monitors
        guard = Guard(monitors, open_store(store, monitors, accounts=accounts), action=Action.LOG)
    keys = Keys.read(folder / "keys")
    serving = Serving(keys=keys, limits=Limits(batch=100, accounts=accounts))
    make_server(model, guard, serving).run(sockets=[listening])


@contextmanager
def running(made: Made, store: str | None, accounts: int = 10_000) -> Iterator[tuple[int, int]]:
    """Yield the port and the process of a server."""
    spawn = multiprocessing.get_context("spawn")
    with listen("127.0.0.1", 0) as listening:
        work = partial(serve, made.folder, store, accounts)
        process = spawn.Process(target=work, args=(listening,))
        process.start()
        try:
            assert process.pid is not None
            yield listening.getsockname()[1], process.pid
        finally:
            process.kill()
            process.join()


def body(images: torch.Tensor) -> bytes:
    """Return a request for uint8 images [N, C, H, W]."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(images.shape)}
    return json.dumps({"inputs": [{**tensor, "data": images.flatten().tolist()}]}).encode()


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, content: bytes, key: str) -> float:
        """Send a request, and return the seconds until its answer."""
        started = time.perf_counter()
        self._connection.request("POST", PATH, content, {"Authorization": f"Bearer {key}"})
        reply = self._connection.getresponse()
        said = reply.read()
        assert reply.status == 200, said
        return time.perf_counter() - started


def fill(made: Made, port: int) -> None:
    """Let each account ask until all windows are full."""
    client = Client(port)
    parts = [body(part) for part in made.queries.images[:FILLING].split(100)]
    for key in made.keys:
        for part in parts:
            client.ask(part, key)


def measure(made: Made, port: int, requests: int, rate: float | None) -> tuple[float, float, float]:
    """Return requests a second, the median and the 99th percentile of seconds.

    With a rate, requests begin at its times, and a late one has waited since its time; without
    one each client asks again when it is answered.
    """
    bodies = [body(made.queries.images[place : place + 1]) for place in range(FILLING, 3000)]
    seconds: list[float] = []
    begun = time.perf_counter()

    def work(first: int) -> None:
        client = Client(port)
        mine = islice(zip(cycle(bodies), cycle(made.keys), strict=False), first, None, CLIENTS)
        for number in range(first, requests, CLIENTS):
            due = begun + number / rate if rate else 0.0
            time.sleep(max(0.0, due - time.perf_counter()))
            late = max(0.0, time.perf_counter() - due) if rate else 0.0
            seconds.append(late + client.ask(*next(mine)))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    median, slow = np.percentile(seconds, [50, 99])
    return requests / took, float(median), float(slow)


def processor_seconds(process: int) -> float:
    """Return what a process has computed so far: another's work beside it changes it little."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run() -> str:
    """Measure the bare server, and the guarded one with its stores."""
    if "MOLEHUNT_DATA" not in os.environ:
        return "needs MOLEHUNT_DATA with MNIST"
    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
        stores = {"bare": None, "memory": "memory", "sqlite": f"sqlite:{folder}/guard.sqlite"}
        for name, store in stores.items():
            with running(made, store) as (port, process):
                fill(made, port)
                measure(made, port, 200, None)
                before = processor_seconds(process)
                speed, median, slow = measure(made, port, REQUESTS, None)
                took = (processor_seconds(process) - before) / REQUESTS
                fast = f"{speed:.0f} requests/s ({median * 1e3:.1f}, {slow * 1e3:.1f} ms)"
                _, median, slow = measure(made, port, REQUESTS, RATE)
                steady = f"at {RATE}/s {median * 1e3:.1f}, {slow * 1e3:.1f} ms"
            lines.append(f"{name}: {fast}, {steady}, {took * 1e3:.1f} ms of processor a request")
            print(lines[-1], flush=True)
    return (
        f"{'; '.join(lines)}; in brackets and at {RATE}/s median and 99th percentile; {CLIENTS} "
        f"clients, {ACCOUNTS} accounts with full windows, {REQUESTS} requests; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
