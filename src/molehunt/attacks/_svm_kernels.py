"""The kernels of support vector machines, with what a gradient needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.spatial.distance import cdist

from molehunt.arrays import Floats


class Kernel(Protocol):
    """A symmetric function k(a, b) of two points."""

    def __call__(self, a: Floats, b: Floats) -> Floats:
        """Return k of all pairs, shape [A, B], of points [A, D] and [B, D]."""

    def slope(self, points: Floats, weights: Floats, at: Floats) -> Floats:
        """Return the gradient at `at`, shape [D], of the weighted sum of k(point, ·).

        `points` stand still, also where one of them is `at`; `weights` have shape [A].
        """


@dataclass(frozen=True)
class LinearKernel:
    """k(a, b) = a · b."""

    def __call__(self, a: Floats, b: Floats) -> Floats:
        """Return the dot products."""
        return a @ b.T

    def slope(self, points: Floats, weights: Floats, at: Floats) -> Floats:
        """Return the weighted sum of the points; it is the same everywhere."""
        return weights @ points


@dataclass(frozen=True)
class RbfKernel:
    """k(a, b) = exp(-gamma |a - b|²)."""

    gamma: float

    def __call__(self, a: Floats, b: Floats) -> Floats:
        """Return the bells' values."""
        values: Floats = np.exp(-self.gamma * cdist(a, b, "sqeuclidean"))
        return values

    def slope(self, points: Floats, weights: Floats, at: Floats) -> Floats:
        """Return the gradient of the weighted bells."""
        pull = weights * self(points, at[None])[:, 0]
        slope: Floats = 2 * self.gamma * (pull @ points - pull.sum() * at)
        return slope
