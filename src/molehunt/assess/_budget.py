"""One budget over all attacks: who gets how many queries, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from molehunt.assess._assessor import Assessor, Costs
from molehunt.assess._case import Case
from molehunt.assess._stealing import copy_network
from molehunt.networks import Reveals, build_classifier

QUERIES = 100_000  # where nothing is said
_TRIED, _TIMES, _LEAST_SECONDS = 64, 3, 0.3  # images and measurements of the calibration


def share_of_budget(left: int, assessor: Assessor, waiting: Sequence[Assessor]) -> int:
    """Return the queries of the next risk, of what is left for it and those behind it.

    In proportion to their shares. What a risk leaves unspent is so dealt to those behind it.

    Examples
    --------
    >>> from molehunt.assess import pick_assessors
    >>> linf, mask = pick_assessors(["evasion-linf", "evasion-mask"])
    >>> share_of_budget(10_000, linf, [mask])
    6000
    """
    total = assessor.share + sum(each.share for each in waiting)
    return int(left * assessor.share / total) if total else 0


def queries_of_minutes(minutes: float, case: Case, assessors: Sequence[Assessor]) -> int:
    """Return how many queries take so many minutes, by a measurement of their cost.

    The number belongs into the report: with it, and not with minutes, a run is repeated.
    """
    costs = measure_costs(case)

    def seconds(queries: int) -> float:
        left, total = queries, 0.0
        for place, assessor in enumerate(assessors):
            share = share_of_budget(left, assessor, assessors[place + 1 :])
            left -= share
            total += assessor.seconds(case, share, costs)
        return total

    low, high = 1, 2
    while seconds(high) < 60 * minutes and high < 2**40:
        low, high = high, 2 * high
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        low, high = (middle, high) if seconds(middle) < 60 * minutes else (low, middle)
    return low


def measure_costs(case: Case) -> Costs:
    """Return the seconds of an answer, a gradient and a step of training, for an image each."""
    shown = case.pool.take(torch.arange(min(_TRIED, len(case.pool))))
    pixels = shown.pixels().to(case.model.mean.device)
    labels = shown.labels.to(pixels.device)

    def answer() -> None:
        with torch.no_grad():
            case.model(pixels)

    def gradient() -> None:
        point = pixels.clone().requires_grad_()
        loss = functional.cross_entropy(case.model(point).float(), labels)
        torch.autograd.grad(loss, point)

    network, arguments = copy_network(shown.shape)
    copy = build_classifier(network, shown, arguments=arguments, seed=0)

    def training() -> None:
        functional.cross_entropy(copy(pixels).float(), labels).backward()  # type: ignore[no-untyped-call]

    count = len(pixels)
    answers = _mean_seconds(answer) / count
    gradients = 3 * answers
    if case.reveals is Reveals.WEIGHTS:
        gradients = _mean_seconds(gradient) / count
    return Costs(answers, gradients, _mean_seconds(training) / count)


def _mean_seconds(work: Callable[[], object]) -> float:
    """Return what it takes now, the load of the machine included."""
    work()
    times, started = 0, time.perf_counter()
    while times < _TIMES or time.perf_counter() - started < _LEAST_SECONDS:
        work()
        times += 1
    return (time.perf_counter() - started) / times
