"""What poison that passes a filter can do to a linear classifier, at most."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molehunt.arrays import Floats
from molehunt.defences._suspects import Labels, check_suspects
from molehunt.errors import InvalidRequestError, mismatch


@dataclass(frozen=True)
class SphereAndSlab:
    """A filter of points of two classes: near their mean, and not far along the line of means.

    The oracle defence of Steinhardt, Koh and Liang (NeurIPS 2017, section 3.1): the means are
    those of clean points.

    Parameters
    ----------
    means : array, shape [2, D]
        Of the classes -1 and 1.
    radii, slabs : arrays, shape [2]
        The largest distance from the own mean, and along the line through both means.
    """

    means: Floats
    radii: Floats
    slabs: Floats

    @classmethod
    def fit(cls, points: Floats, signs: Floats, *, keep: float = 0.95) -> SphereAndSlab:
        """Return the filter that keeps a share of each class's clean points, by each measure.

        Parameters
        ----------
        points : array, shape [N, D]
        signs : array, shape [N]
            -1 or 1.
        keep : float
            In (0, 1].

        Raises
        ------
        InvalidRequestError
            If `keep` is out of range, or points and signs are no training set of two classes.
        """
        _check(points, signs)
        if not 0 < keep <= 1:
            raise InvalidRequestError(mismatch("keep", "a share over 0, up to 1", keep))
        own = [points[signs == sign] for sign in (-1, 1)]
        means = np.stack([each.mean(0) for each in own])
        line = _unit(means[1] - means[0])
        far = [np.linalg.norm(each - mean, axis=1) for each, mean in zip(own, means, strict=True)]
        along = [np.abs((each - mean) @ line) for each, mean in zip(own, means, strict=True)]
        return cls(
            means,
            np.array([np.quantile(each, keep) for each in far]),
            np.array([np.quantile(each, keep) for each in along]),
        )

    def passes(self, points: Floats, signs: Floats) -> NDArray[np.bool_]:
        """Return which points [N, D] it lets through."""
        of = (signs > 0).astype(int)
        away = points - self.means[of]
        line = _unit(self.means[1] - self.means[0])
        near = np.linalg.norm(away, axis=1) <= self.radii[of] + _ROUNDING
        passed: NDArray[np.bool_] = near & (np.abs(away @ line) <= self.slabs[of] + _ROUNDING)
        return passed

    def worst(self, weights: Floats) -> Floats:
        """Return for each class the point [2, D] that passes and fits weights [D] worst."""
        line = _unit(self.means[1] - self.means[0])
        along = float(weights @ line)
        across = weights - along * line
        length = float(np.linalg.norm(across))
        norm = float(np.hypot(along, length))
        found = self.means.copy()
        for row, sign in enumerate((-1.0, 1.0)):
            if norm == 0:
                continue
            radius = self.radii[row]
            step = np.clip(-sign * radius * along / norm, -self.slabs[row], self.slabs[row])
            found[row] += step * line
            if length > 0:
                rest = np.sqrt(max(radius**2 - step**2, 0.0))
                found[row] -= sign * rest * across / length
        return found


@dataclass(frozen=True)
class PoisonedLoss:
    """How far poison can drive a linear classifier's hinge loss on the clean points.

    Parameters
    ----------
    bound : float
        No poison that passes the filter takes the mean loss on the clean points over it.
    points, signs : arrays, shapes [P, D] and [P]
        The poison of the attack that comes with the bound. It nearly reaches the bound in the
        sum that the learner makes least, the clean points' mean loss plus `share` times the
        poison's; how much of it falls on the clean points is the learner's choice.
    """

    bound: float
    points: Floats = field(repr=False)
    signs: Floats = field(repr=False)


def bound_poisoned_loss(
    points: Floats,
    signs: Floats,
    feasible: SphereAndSlab,
    *,
    share: float,
    norm: float = 1.0,
    steps: int = 1000,
    generator: np.random.Generator,
) -> PoisonedLoss:
    """Bound the loss of a linear classifier that is trained on clean and poisoned points.

    The learner takes the weights w, of length `norm` or less and without a constant (give
    points a last column of ones), with the smallest sum of hinge losses on N clean points and
    up to `share` * N poisoned ones that `feasible` lets through. Whatever those are, its mean
    loss on the clean points is at most that of any w on the clean points, plus `share` times
    the largest loss of a feasible point: the bound is the least of these that was found.

    Parameters
    ----------
    points : array, shape [N, D]
        Clean points that pass the filter: what is lost with those that do not is not counted.
    signs : array, shape [N]
        -1 or 1.
    feasible : SphereAndSlab
    share : float
        Poisoned points for each clean one, 0 or more.
    norm : float
        Largest length of the weights.
    steps : int
        Of projected subgradient descent.
    generator : numpy.random.Generator
        Draws which of the worst points are the attack.

    Raises
    ------
    InvalidRequestError
        If points and signs are no training set of two classes, or a setting is out of range.

    Notes
    -----
    Steinhardt, Koh and Liang, "Certified Defenses for Data Poisoning Attacks" (NeurIPS 2017,
    section 3, Algorithm 1), with a fixed filter. The bound is on the training set; that it
    holds for new points takes a set that is large for its dimension. Deviations: plain
    subgradient steps in place of regularised dual averaging; poison need not be an image
    (pixels beyond [0, 1] pass), which can only make the bound larger.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> signs = np.repeat([-1.0, 1.0], 50)
    >>> points = generator.normal(size=(100, 2)) + 4 * signs[:, None]
    >>> feasible = SphereAndSlab.fit(points, signs)
    >>> found = bound_poisoned_loss(points, signs, feasible, share=0.1, generator=generator)
    >>> found.bound < 0.4, len(found.points)
    (True, 10)
    """
    _check(points, signs)
    if not 0 <= share < np.inf:
        raise InvalidRequestError(mismatch("share", "a number, 0 or more", share))
    if not 0 < norm < np.inf:
        raise InvalidRequestError(mismatch("norm", "a positive number", norm))
    if steps < 1:
        raise InvalidRequestError(mismatch("steps", "1 or more", steps))
    signed = points * signs[:, None]
    weights, middle = np.zeros(points.shape[1]), np.zeros(points.shape[1])
    best = np.inf
    met_points, met_signs = [], []
    for step in range(1, steps + 1):
        worst, sign, value, slope = _look(signed, feasible, share, weights)
        best = min(best, value)
        if step > steps // 2:  # near the end the worst points are those of the best weights
            met_points.append(worst)
            met_signs.append(sign)
        weights = weights - norm / (np.linalg.norm(slope) + _ROUNDING) / np.sqrt(step) * slope
        weights *= min(1.0, norm / (np.linalg.norm(weights) + _ROUNDING))
        middle += (weights - middle) * 2 / (step + 1)
    best = min(best, _look(signed, feasible, share, middle)[2])
    count = round(share * len(points))
    chosen = generator.integers(len(met_points), size=count)
    return PoisonedLoss(float(best), np.stack(met_points)[chosen], np.array(met_signs)[chosen])


def _look(
    signed: Floats, feasible: SphereAndSlab, share: float, weights: Floats
) -> tuple[Floats, float, float, Floats]:
    """Return the worst point that passes, its sign, the bound of these weights and its slope."""
    losses = 1 - signed @ weights
    wrong = losses > 0
    value = float(losses[wrong].sum()) / len(signed)
    slope = -signed[wrong].sum(0) / len(signed)
    candidates = feasible.worst(weights)
    theirs = np.maximum(1 - np.array([-1.0, 1.0]) * (candidates @ weights), 0)
    row = int(theirs.argmax())
    sign = (-1.0, 1.0)[row]
    if theirs[row] > 0:
        slope = slope - share * sign * candidates[row]
    return candidates[row], sign, value + share * float(theirs[row]), slope


_ROUNDING = 1e-9


def _unit(vector: Floats) -> Floats:
    result: Floats = vector / (np.linalg.norm(vector) + 1e-12)
    return result


def _check(points: Floats, signs: Labels) -> None:
    check_suspects(points, signs)
    if {*signs.tolist()} != {-1.0, 1.0}:
        raise InvalidRequestError(mismatch("signs", "-1 and 1", sorted({*signs.tolist()})[:5]))
