"""A bound, and what a support vector machine does with the poison that comes with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from molehunt.arrays import Floats
from molehunt.defences import SphereAndSlab, bound_poisoned_loss
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.study import Bench
from molehunt_studies.poison_bound.plan import BoundPlan, PoisonBoundPlan


class BoundRecord(BoundPlan):
    """What was bounded, and what was reached.

    `bound` is on the mean hinge loss of the clean training images that pass the filter, with
    or without `share` times the poison's. `reached` and `clean_loss` are with and without it,
    of a machine that was trained on the attack's poison; `test_errors` are its wrong test
    images, of `test_images`.
    """

    bound: float
    reached: float
    clean_loss: float
    test_errors: int
    test_images: int
    train_images: int
    passed: int


class Points(NamedTuple):
    """Images as rows of pixels and a one, and -1 for the first digit, 1 for the second."""

    rows: Floats
    signs: Floats


@dataclass(frozen=True)
class BoundBench(Bench[PoisonBoundPlan]):
    """The images of all pairs."""

    @cached_property
    def images(self) -> TrainTest:
        """All digits."""
        return load_images(self.plan.source, data_root=self.data_root)


def bound_and_attack(task: BoundPlan, bench: BoundBench) -> BoundRecord:
    """Bound what poison does to one learner, and train it on the poison."""
    train, test = (_points(part, task.pair) for part in bench.images)
    feasible = SphereAndSlab.fit(train.rows, train.signs, keep=bench.plan.keep)
    passed = feasible.passes(train.rows, train.signs)
    clean = Points(train.rows[passed], train.signs[passed])
    found = bound_poisoned_loss(
        clean.rows,
        clean.signs,
        feasible,
        share=task.share,
        norm=task.norm,
        steps=bench.plan.steps,
        generator=np.random.default_rng(bench.plan.seed),
    )
    everything = Points(
        np.concatenate([clean.rows, found.points]), np.concatenate([clean.signs, found.signs])
    )
    weights = _train(everything, task.norm, bench.plan.seed)

    def loss(points: Points) -> float:
        losses = np.maximum(1 - points.signs * (points.rows @ weights), 0)
        return float(losses.sum()) / len(clean.signs)

    return BoundRecord(
        **dict(task),
        bound=found.bound,
        reached=loss(everything),
        clean_loss=loss(clean),
        test_errors=int((test.signs * (test.rows @ weights) <= 0).sum()),
        test_images=len(test.signs),
        train_images=len(train.signs),
        passed=int(passed.sum()),
    )


def _points(images: ImageSet, pair: tuple[int, int]) -> Points:
    two = images.take(torch.isin(images.labels, torch.tensor(pair)))
    pixels = two.pixels().flatten(1).double().numpy()
    rows = np.hstack([pixels, np.ones((len(pixels), 1))])
    return Points(rows, np.where(two.labels.numpy() == pair[0], -1.0, 1.0))


def _train(points: Points, norm: float, seed: int) -> Floats:
    """Return the weights, no longer than `norm`, of a machine with as little loss as that allows.

    The penalty that makes them so long is found by bisection.
    """
    low, high, best = -8.0, 0.0, np.zeros(points.rows.shape[1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        machine = LinearSVC(
            loss="hinge", C=10**middle, fit_intercept=False, max_iter=1000, random_state=seed
        )
        with warnings.catch_warnings():  # its loss is measured, however near the least it came
            warnings.simplefilter("ignore", ConvergenceWarning)
            weights = machine.fit(points.rows, points.signs).coef_[0]
        if np.linalg.norm(weights) <= norm:
            low, best = middle, weights
        else:
            high = middle
    return best


_HALVINGS = 10
