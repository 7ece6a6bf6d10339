"""Tasks on the nodes of a Ray cluster, which need not share a file system with the driver.

A worker builds in a scratch folder and returns the files that it finds there; the driver
writes them whole, and only then is the record its caller's to append. Ray does the tasks
of a lost node again elsewhere.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from molehunt.errors import InvalidRequestError, mismatch, need_extra
from molehunt.files import written_whole
from molehunt.resumable._work import C, R, T, Work, WorkerDiedError

_LOSSES = 10  # of nodes and workers that one task may outlive; more are its own fault
_SECONDS_TO_ANSWER = 5


@dataclass(frozen=True)
class RayCluster:
    """A Ray cluster, and what each task gets of it.

    Parameters
    ----------
    address : str
        ``auto`` (the cluster that this machine is a node of), ``HOST:PORT``, or
        ``ray://HOST:PORT`` for a machine that is no node.
    cpus, gpus : float
        Of one node, for each task; whole or under 1, not both 0. A task computes with one
        thread whatever `cpus` is, and on CUDA if `gpus` is over 0.

    Raises
    ------
    InvalidRequestError
        If no task can be given that.
    """

    address: str
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        amounts = (self.cpus, self.gpus)
        possible = all(0 <= x < 1 or (x > 0 and float(x).is_integer()) for x in amounts)
        if not (possible and any(amounts)):
            allowed = "whole numbers or fractions under 1, not both 0"
            got = f"{self.cpus:g} and {self.gpus:g}"
            raise InvalidRequestError(mismatch("CPUs and GPUs a model", allowed, got))


def on_ray(
    tasks: Sequence[T], work: Work[T, R, C], folder: Path, cluster: RayCluster
) -> Generator[R, None, None]:
    """Yield the records of tasks that the cluster does, as their files are whole in `folder`.

    Raises
    ------
    InvalidRequestError
        If Ray is not installed, the cluster does not answer, or no node of it can hold a task.
    WorkerDiedError
        If a task lost its worker again and again.
    """
    assert work.in_folder is not None, "this work cannot be done without the driver's folder"
    with _connect(cluster) as ray:
        do = ray.remote(
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
            max_retries=_LOSSES,
            retry_exceptions=False,
        )(_do_in_worker)
        pending = [do.remote(task, work) for task in tasks]
        while pending:
            finished, pending = ray.wait(pending)
            try:
                record, files = ray.get(finished.pop())
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                raise WorkerDiedError from error
            for name, content in files.items():
                with written_whole(folder / name) as temporary:
                    temporary.write_bytes(content)
            yield record


@contextmanager
def _connect(cluster: RayCluster) -> Generator[Any, None, None]:
    """Be a driver of the cluster, and yield the module; no worker outlives its driver."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = need_extra("ray", "ray", "a Ray cluster")
    try:
        _call(cluster.address)
        ray.init(
            cluster.address, include_dashboard=False, log_to_driver=False, logging_level="error"
        )
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        running = "the address of a running one (auto, HOST:PORT or ray://HOST:PORT)"
        got = f"{cluster.address} ({error})"
        raise InvalidRequestError(mismatch("Ray cluster", running, got)) from error
    try:
        _check_room(cluster, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        yield ray
    finally:
        ray.shutdown()


def _call(address: str) -> None:
    """Raise OSError or ValueError where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()


def _check_room(cluster: RayCluster, nodes: Sequence[dict[str, float]]) -> None:
    """Refuse what no node has; Ray itself would wait for such a node."""
    if not any(
        node.get("CPU", 0) >= cluster.cpus and node.get("GPU", 0) >= cluster.gpus for node in nodes
    ):
        has = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes)
        raise InvalidRequestError(
            mismatch(
                "CPUs and GPUs a model",
                f"what one node has ({has})",
                f"{cluster.cpus:g} and {cluster.gpus:g}",
            )
        )


class _Worker:
    """What a worker process keeps from one task to the next; it serves one driver only."""

    context: Any = None


def _do_in_worker(task: Any, work: Work[Any, Any, Any]) -> tuple[Any, dict[str, bytes]]:
    """Return the record of a task, and the files that it left in its folder."""
    if _Worker.context is None:
        torch.set_num_threads(1)
        _Worker.context = work.setup(*work.arguments)
    assert work.in_folder is not None
    with tempfile.TemporaryDirectory(prefix="molehunt-") as name:
        scratch = Path(name)
        record = work.build(task, work.in_folder(_Worker.context, scratch))
        files = [path for path in scratch.rglob("*") if path.is_file()]
        return record, {str(path.relative_to(scratch)): path.read_bytes() for path in files}
