"""What honest users send, and how often that raises an alarm."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from molehunt.guard import Monitor
from molehunt.networks import logits_of
from molehunt_studies.query_monitor.bench import QueryMonitorBench, signs
from molehunt_studies.query_monitor.plan import TrafficTask

_ACCOUNT = 1000  # queries
_FRAMES = 20
_MOVES = 2  # pixels

TITLES = {
    "mixed": "images in random order, one account",
    "accounts": "the same, a new account every 1,000 queries",
    "one class": "one account a class, nothing but its images",
    "twice": "every image sent twice",
    "shifted": "films of 20 frames: one image that moves by up to 2 pixels",
    "signs, mixed": "traffic signs in random order",
    "signs, tracks": "traffic signs, tracks of about 15 frames as a car sees them",
}


class TrafficRecord(TrafficTask):
    """How many of `queries` raised an alarm, by monitor, and how many of `accounts` did."""

    queries: int
    accounts: int
    alarms: dict[str, int]
    flagged: dict[str, int]
    seconds: float


def send(task: TrafficTask, bench: QueryMonitorBench) -> TrafficRecord:
    """Show honest queries to the monitors; nothing is blocked."""
    started = time.perf_counter()
    monitors = bench.monitors("signs" if task.traffic.startswith("signs") else "images")
    names = [*(monitor.kind for monitor in monitors), "any"]
    alarms, flagged = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    queries = accounts = 0
    for images, labels in _accounts(task.traffic, bench):
        queries, accounts = queries + len(images), accounts + 1
        for name, hits in _alarms(monitors, images, labels).items():
            alarms[name] += int(hits.sum())
            flagged[name] += bool(hits.any())
    return TrafficRecord(
        **dict(task),
        queries=queries,
        accounts=accounts,
        alarms=alarms,
        flagged=flagged,
        seconds=round(time.perf_counter() - started, 1),
    )


def _alarms(monitors: tuple[Monitor, ...], images: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    pixels = images.float().div_(255)
    found = {}
    for monitor in monitors:
        rows = monitor.digest(pixels, labels)
        found[monitor.kind] = np.array(
            [alarm is not None for alarm in monitor.judge(rows[:0], rows)]
        )
    found["any"] = np.any([*found.values()], axis=0)
    return found


def _accounts(traffic: str, bench: QueryMonitorBench) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images and labels that each account sends."""
    if traffic.startswith("signs"):
        _, mixed, tracks = signs(bench)
        shown = mixed if traffic == "signs, mixed" else tracks
        yield shown.images, shown.labels
        return
    images = bench.parts["honest"].images
    labels = logits_of(bench.network(), images).argmax(1)
    if traffic == "mixed":
        yield images, labels
    elif traffic == "accounts":
        for start in range(0, len(images), _ACCOUNT):
            yield images[start : start + _ACCOUNT], labels[start : start + _ACCOUNT]
    elif traffic == "one class":
        shows = bench.parts["honest"].labels
        for label in range(10):
            yield images[shows == label], labels[shows == label]
    elif traffic == "twice":
        yield images[:2000].repeat_interleave(2, 0), labels[:2000].repeat_interleave(2)
    else:
        draw = torch.Generator().manual_seed(bench.plan.seed + 4)
        moved = _moved(images[:100], draw)
        yield moved, logits_of(bench.network(), moved).argmax(1)


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return each image at places of a short walk, one frame after the other."""
    frames = []
    for image in images:
        steps = torch.randint(-1, 2, (_FRAMES, 2), generator=generator)
        for down, right in steps.cumsum(0).clamp(-_MOVES, _MOVES).tolist():
            frames.append(image.roll((down, right), (1, 2)))
    return torch.stack(frames)
