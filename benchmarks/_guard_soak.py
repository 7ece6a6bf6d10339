"""A day of queries to a guarded server, without its pauses: its memory stays flat."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import torch

from benchmarks._guard import Client, body, make, running

QUERIES = 28_800  # a day at one in three seconds
BATCH = 8
ACCOUNTS, REMEMBERED = 12, 8  # more ask than the store may remember
TURN = 130  # requests of an account until the next one asks: its windows are full then
SAMPLES = 12


def resident(process: int) -> float:
    """Return MiB of memory that a process holds."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def run() -> str:
    """Ask, and return what the server held along the way."""
    if "MOLEHUNT_DATA" not in os.environ:
        return "needs MOLEHUNT_DATA with MNIST"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder), ACCOUNTS)
        images = made.queries.images
        bodies = [body(images[place : place + BATCH]) for place in range(0, 8000, BATCH)]
        file = Path(folder) / "guard.sqlite"
        with running(made, f"sqlite:{file}", REMEMBERED) as (port, process):
            client, held, sizes = Client(port), [], []
            requests, started = QUERIES // BATCH, time.perf_counter()
            for number in range(requests):
                key = made.keys[number // TURN % ACCOUNTS]
                client.ask(bodies[number % len(bodies)], key)
                if number * SAMPLES // requests != (number + 1) * SAMPLES // requests:
                    held.append(resident(process))
                    sizes.append(sum(f.stat().st_size for f in Path(folder).glob("guard.sqlite*")))
                    print(f"{number + 1} of {requests}: {held[-1]:.0f} MiB", flush=True)
            seconds = time.perf_counter() - started
    return (
        f"{QUERIES:,} queries in {requests:,} requests, {seconds:.0f} s: resident memory "
        f"{', '.join(f'{mib:.0f}' for mib in held)} MiB; the store's files "
        f"{', '.join(f'{size / 2**20:.0f}' for size in sizes)} MiB"
    )
