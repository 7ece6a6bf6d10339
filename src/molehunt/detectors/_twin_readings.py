"""What is measured on a model and in the same way on its twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.detectors._panel import Panel
from molehunt.detectors._read_margins import largest_margins
from molehunt.detectors._read_masks import (
    Changes,
    all_to_next,
    all_to_one,
    pairs,
    smallest_masks,
)
from molehunt.images import ImageSet


class Reading(NamedTuple):
    """The raw numbers of M models of K classes; a part without columns was not measured.

    `margins` [M, K]: how far each class can be pushed above all others. `one` [M, K],
    `next` [M, K - 1] and `pair` [M, K * (K - 1)]: pixels of the smallest mask that turns all
    images into a class, class i into i + k, and a class into another (rows without the
    diagonal).
    """

    margins: Tensor
    one: Tensor
    next: Tensor
    pair: Tensor


class _Ascent(NamedTuple):
    starts: int
    steps: int
    least: float

    def passes(self, classes: int) -> int:
        return classes * self.starts * self.steps


class _Search(NamedTuple):
    """How masks are searched, and what their statistic must exceed to count.

    `images` of each task, of which `shown` go into a step, all where it is 0.
    """

    images: int
    steps: int
    lr: float
    least: float
    success: float = 0.95
    shown: int = 0

    def passes(self, tasks: int) -> int:
        return tasks * (self.shown or self.images) * self.steps

    def run(self, panel: Panel, pixels: Tensor, changes: Changes, seed: int) -> Tensor:
        return smallest_masks(
            panel,
            pixels,
            changes,
            steps=self.steps,
            lr=self.lr,
            success=self.success,
            shown=self.shown,
            seed=seed,
        )


class _Plan(NamedTuple):
    margins: _Ascent | None
    one: _Search
    next: _Search
    pair: _Search | None


# Each `least` is fixed on self-made models and their twins (docs/studies/strangers/choices.md).
_FEW = _Plan(
    _Ascent(3, 60, least=2.0),
    _Search(10, 100, 0.15, least=1.2),
    _Search(20, 100, 0.15, least=1.5, success=0.9),
    _Search(6, 60, 0.25, least=5.0),
)
# With 43 classes margins of a model's twins are as far apart as its own, and what a payable
# search over 1,806 pairs finds in a backdoored model it finds in clean ones.
_MANY = _Plan(
    None,
    _Search(64, 100, 0.15, least=1.8, success=0.85, shown=8),
    _Search(16, 100, 0.15, least=2.5, success=0.9),
    None,
)


def _plan_of(classes: int) -> _Plan:
    return _FEW if classes <= MOST_LIKE_TEN else _MANY


# What was measured with 10 classes stands for so many or fewer.
MOST_LIKE_TEN = 12


def needs_twins(classes: int) -> bool:
    """Return whether a model's values depend on what its twins' are: pairs' do."""
    return _plan_of(classes).pair is not None


def reading_passes(classes: int) -> int:
    """Return how many images go forward and backward through one model of so many classes."""
    plan = _plan_of(classes)
    return (
        (plan.margins.passes(classes) if plan.margins else 0)
        + plan.one.passes(classes)
        + plan.next.passes(classes - 1)
        + (plan.pair.passes(classes * (classes - 1)) if plan.pair else 0)
    )


def read(panel: Panel, images: ImageSet, *, seed: int = 0) -> Reading:
    """Measure the models of a panel on clean images; the draws are the same for any panel."""
    classes, labels, pixels = images.num_classes, images.labels, images.pixels()
    plan = _plan_of(classes)
    panel.quicken()

    def search(how: _Search | None, tasks: _Tasks) -> Tensor:
        if how is None:
            return torch.zeros(len(panel), 0)
        generator = torch.Generator().manual_seed(1 + seed)
        changes = tasks(labels, classes, how.images, generator)
        return how.run(panel, pixels, changes, seed)

    margins = torch.zeros(len(panel), 0)
    if plan.margins:
        starts, steps = plan.margins.starts, plan.margins.steps
        margins = largest_margins(panel, starts=starts, steps=steps, seed=seed)
    return Reading(
        margins,
        search(plan.one, all_to_one),
        search(plan.next, all_to_next),
        search(plan.pair, pairs),
    )


_Tasks = Callable[[Tensor, int, int, torch.Generator], Changes]


@dataclass(frozen=True)
class TwinStatistic:
    """One number of a model beside those of its twins.

    Parameters
    ----------
    name : str
        What it measures, in words.
    finds : str
        The kind of backdoor that it is for.
    value : float
        Of the model, higher for more suspicious.
    twin_values : array of float64, shape [m]
    least : float
        What is no larger counts as nothing; fixed on development models.
    target, source : int, optional
        The classes that the value points at. A shift of all labels has neither.
    """

    name: str
    finds: str
    value: float
    twin_values: Floats = field(repr=False, compare=False)
    least: float
    target: int | None = None
    source: int | None = None


def statistics_of(reading: Reading) -> list[TwinStatistic]:
    """Return the statistics of the first model, the others being its twins."""
    margins, one, further, pair = (part.double().numpy() for part in reading)
    classes = one.shape[1]
    plan = _plan_of(classes)
    found = []

    def add(
        name: str,
        finds: str,
        values: Floats,
        least: float,
        target: int | None = None,
        source: int | None = None,
    ) -> None:
        own = float(values[0])
        found.append(TwinStatistic(name, finds, own, values[1:], least, target, source))

    if plan.margins:
        middle = np.maximum(np.median(margins, axis=1), 1e-3)
        add(
            "largest margin over the median one",
            "all-to-one",
            margins.max(axis=1) / middle,
            plan.margins.least,
            int(margins[0].argmax()),
        )
    add(
        "smallest mask to one class, against the median one",
        "all-to-one",
        _small(one).max(axis=1),
        plan.one.least,
        int(one[0].argmin()),
    )
    add(
        "smallest mask that shifts all labels, against the median one",
        "all-to-all",
        _small(further).max(axis=1),
        plan.next.least,
    )
    if plan.pair:
        excess = _excess_over_others(_small(pair))
        row, column = divmod(int(excess[0].argmax()), classes - 1)
        add(
            "smallest mask from one class to one other, against the twins' for this pair",
            "source-target",
            excess.max(axis=1),
            plan.pair.least,
            column + (column >= row),
            row,
        )
    return found


def _small(sizes: Floats) -> Floats:
    """Return by how much, in logarithms, each size is under the model's median one."""
    logarithms = np.log(np.maximum(sizes, 1e-6))
    result: Floats = np.median(logarithms, axis=1, keepdims=True) - logarithms
    return result


def _excess_over_others(cells: Floats) -> Floats:
    """Return how far each model's cells [M, F] are over the other models', in their spreads.

    Each model is compared with all others, the suspect among them, so that all are treated
    alike. A cell in which they happen to agree is not taken at its word: half of the spread
    is the typical cell's.
    """
    result = np.zeros_like(cells)
    for row in range(len(cells)):
        others = np.delete(cells, row, axis=0)
        spread = others.std(axis=0)
        spread = np.sqrt(spread**2 + np.median(spread) ** 2) + 1e-9
        result[row] = (cells[row] - np.median(others, axis=0)) / spread
    return result
