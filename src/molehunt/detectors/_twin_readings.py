"""What is measured on a model and in the same way on its twins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.detectors._panel import Panel
from molehunt.detectors._read_margins import largest_margins
from molehunt.detectors._read_masks import all_to_next, all_to_one, pairs, smallest_masks
from molehunt.images import ImageSet


class Reading(NamedTuple):
    """The raw numbers of M models of K classes.

    `margins` [M, K]: how far each class can be pushed above all others. `one` [M, K],
    `next` [M, K - 1] and `pair` [M, K * (K - 1)]: pixels of the smallest mask that turns all
    images into a class, class i into i + k, and a class into another (rows without the
    diagonal).
    """

    margins: Tensor
    one: Tensor
    next: Tensor
    pair: Tensor


class _Search(NamedTuple):
    images: int
    steps: int
    lr: float

    def passes(self, tasks: int) -> int:
        return tasks * self.images * self.steps


class _Plan(NamedTuple):
    one: _Search
    next: _Search
    pair: _Search


# Pairs grow with the square of the classes: many classes get fewer steps each.
_FEW = _Plan(_Search(10, 100, 0.15), _Search(20, 100, 0.15), _Search(6, 60, 0.25))
_MANY = _Plan(_Search(8, 100, 0.15), _Search(16, 100, 0.15), _Search(3, 15, 0.4))
_MARGIN_STARTS, _MARGIN_STEPS = 3, 60


def _plan_of(classes: int) -> _Plan:
    return _FEW if classes <= 12 else _MANY


def reading_passes(classes: int) -> int:
    """Return how many images go forward and backward through one model of so many classes."""
    plan = _plan_of(classes)
    return (
        classes * _MARGIN_STARTS * _MARGIN_STEPS
        + plan.one.passes(classes)
        + plan.next.passes(classes - 1)
        + plan.pair.passes(classes * (classes - 1))
    )


def read(panel: Panel, images: ImageSet, *, seed: int = 0) -> Reading:
    """Measure the models of a panel on clean images; the draws are the same for any panel."""
    classes, labels, pixels = images.num_classes, images.labels, images.pixels()
    plan = _plan_of(classes)
    panel.quicken()

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(1 + seed)

    one = all_to_one(labels, classes, plan.one.images, generator())
    further = all_to_next(labels, classes, plan.next.images, generator())
    pair = pairs(labels, classes, plan.pair.images, generator())
    return Reading(
        largest_margins(panel, starts=_MARGIN_STARTS, steps=_MARGIN_STEPS, seed=seed),
        smallest_masks(panel, pixels, one, steps=plan.one.steps, lr=plan.one.lr, seed=seed),
        smallest_masks(
            panel,
            pixels,
            further,
            steps=plan.next.steps,
            lr=plan.next.lr,
            success=0.9,
            seed=seed,
        ),
        smallest_masks(panel, pixels, pair, steps=plan.pair.steps, lr=plan.pair.lr, seed=seed),
    )


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
    classes = margins.shape[1]
    middle = np.maximum(np.median(margins, axis=1), 1e-3)
    excess = _excess_over_others(_small(pair))
    row, column = divmod(int(excess[0].argmax()), classes - 1)
    settings: list[tuple[str, str, Floats, float, int | None, int | None]] = [
        (
            "largest margin over the median one",
            "all-to-one",
            margins.max(axis=1) / middle,
            2.0,
            int(margins[0].argmax()),
            None,
        ),
        (
            "smallest mask to one class, against the median one",
            "all-to-one",
            _small(one).max(axis=1),
            1.2,
            int(one[0].argmin()),
            None,
        ),
        (
            "smallest mask that shifts all labels, against the median one",
            "all-to-all",
            _small(further).max(axis=1),
            1.5,
            None,
            None,
        ),
        (
            "smallest mask from one class to one other, against the twins' for this pair",
            "source-target",
            excess.max(axis=1),
            5.0,
            column + (column >= row),
            row,
        ),
    ]
    return [
        TwinStatistic(name, finds, float(values[0]), values[1:], least, target, source)
        for name, finds, values, least, target, source in settings
    ]


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
