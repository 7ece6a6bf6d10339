"""Points that raise a support vector machine's error: Biggio, Nelson and Laskov, ICML 2012."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.svm import SVC

from molehunt.arrays import Floats
from molehunt.attacks._svm_kernels import Kernel, LinearKernel, RbfKernel
from molehunt.errors import InvalidRequestError, mismatch

Labels = NDArray[np.int64]
# A multiplier this close to 0 or C, as a share of C, is there.
_AT_BOUND = 1e-7


@dataclass(frozen=True)
class SvmPoison:
    """Points that were made for a training set.

    Parameters
    ----------
    points : array of float64, shape [P, D]
        In [0, 1], in the order in which they were made: the first p of them are the attack with
        p points.
    starts : array of float64, shape [P, D]
        Where each began.
    label : int
        Of all of them, -1 or 1.
    losses : tuple of float
        Mean hinge loss on the validation points, without poison and with the first 1, 2, … P
        points.
    fits : int
        How many machines were trained.
    """

    points: Floats
    starts: Floats
    label: int
    losses: tuple[float, ...]
    fits: int


@dataclass(frozen=True)
class SvmPoisoning:
    """Gradient ascent of training points on a support vector machine's validation loss.

    Points are made one after the other, each with the earlier ones in the training set. A point
    moves along the gradient of the mean hinge loss on the validation points, and the machine is
    trained anew after each move. How the machine answers to a move follows from its KKT
    conditions (paper, section 3); the moving point is itself one of the support vectors that
    they hold for.

    Deviations from the paper: steps get shorter, in place of a fixed length; a point that lost
    half of what it had won goes back to its best place, which is also the one that is taken in
    the end; points stay in [0, 1] and are rounded, so that they can be images.

    Parameters
    ----------
    kernel : {"linear", "rbf"}
    C : float
        Of the attacked machine.
    gamma : float, optional
        Of the RBF kernel, exp(-gamma \\|a - b\\|²); it needs one.
    steps : int
        Moves of a point.
    step, last_step : float
        Length of the first and the last move, as shares of the diagonal of [0, 1]^D. The moves
        between shrink by a constant factor.
    levels : int, optional
        Points are rounded to multiples of 1 / levels: with 255 they are images of 8 bit.

    Raises
    ------
    InvalidRequestError
        For a setting that is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from molehunt.attacks import SvmPoisoning
    >>> labels = np.tile([-1, 1], 20)
    >>> noise = np.random.default_rng(0).normal(size=(2, 40, 2))
    >>> train, validation = 0.5 + 0.1 * labels[:, None] + 0.05 * noise
    >>> poison = SvmPoisoning().run(
    ...     train, labels, validation, labels, starts=train[labels == -1][:2], label=1
    ... )
    >>> poison.points.shape, poison.losses[2] > poison.losses[0]
    ((2, 2), True)
    """

    kernel: Literal["linear", "rbf"] = "linear"
    C: float = 1.0
    gamma: float | None = None
    steps: int = 100
    step: float = 0.05
    last_step: float = 0.004
    levels: int | None = 255

    def __post_init__(self) -> None:
        if self.kernel not in ("linear", "rbf"):
            raise InvalidRequestError(mismatch("kernel", "linear or rbf", repr(self.kernel)))
        if self.kernel == "rbf" and self.gamma is None:
            raise InvalidRequestError(mismatch("`gamma`", "a number with an RBF kernel", None))
        for name in ("C", "gamma", "steps", "levels"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InvalidRequestError(mismatch(f"`{name}`", "a number over 0", value))
        if not 0 < self.last_step <= self.step <= 1:
            got = f"step {self.step}, last_step {self.last_step}"
            raise InvalidRequestError(mismatch("steps", "0 < last_step <= step <= 1", got))

    def run(
        self,
        points: Floats,
        labels: Labels,
        validation: Floats,
        validation_labels: Labels,
        *,
        starts: Floats,
        label: int,
    ) -> SvmPoison:
        """Make a point of each start.

        Parameters
        ----------
        points, labels : arrays, shapes [N, D] and [N]
            The clean training set: points in [0, 1], labels -1 and 1.
        validation, validation_labels : arrays, shapes [V, D] and [V]
            What the attacker measures the loss on.
        starts : array, shape [P, D]
            In the paper, random training points of the class that the attacker's label is not.
        label : int
            The attacker's, -1 or 1.

        Raises
        ------
        InvalidRequestError
            If shapes, values or labels do not fit.
        """
        _check("training points", points, points.shape[1:])
        _check("validation points", validation, points.shape[1:])
        _check("starts", starts, points.shape[1:])
        _check_labels("training labels", labels, len(points))
        _check_labels("validation labels", validation_labels, len(validation))
        if label not in (-1, 1):
            raise InvalidRequestError(mismatch("`label`", "-1 or 1", label))
        losses = [_Machine(self, points, labels, validation, validation_labels).loss]
        fits = 1
        for start in starts:
            points, labels = np.vstack([points, start]), np.append(labels, label)
            machine = _Machine(self, points, labels, validation, validation_labels)
            machine.move(self._climb(machine))
            points = machine.points
            losses.append(machine.loss)
            fits += machine.fits
        made = points[len(points) - len(starts) :]
        return SvmPoison(made, starts.copy(), label, tuple(losses), fits)

    def _climb(self, machine: _Machine) -> Floats:
        """Return the place of the largest loss that the last point reaches."""
        first = best = machine.loss
        place: Floats = machine.points[-1].copy()
        diagonal = np.sqrt(len(place))
        for length in np.geomspace(self.step, self.last_step, self.steps) * diagonal:
            slope = machine.slope()
            # The way goes down, too, but not for long; beyond the margin no point has a slope.
            if not slope.any() or machine.loss < (first + best) / 2:
                machine.move(place)
                slope = machine.slope()
            here = machine.points[-1]
            slope[((here <= 0) & (slope < 0)) | ((here >= 1) & (slope > 0))] = 0
            if not slope.any():
                break
            machine.move(np.clip(here + length * slope / np.linalg.norm(slope), 0, 1))
            if machine.loss > best:
                best, place = machine.loss, machine.points[-1].copy()
        if self.levels is not None:
            place = np.round(place * self.levels) / self.levels
        return place


class _Machine:
    """A support vector machine whose last training point moves.

    `multipliers` are the dual variables of all training points, in [0, C].
    """

    def __init__(
        self,
        settings: SvmPoisoning,
        points: Floats,
        labels: Labels,
        validation: Floats,
        validation_labels: Labels,
    ) -> None:
        self.points, self.labels = points.copy(), labels.astype(np.float64)
        self._validation, self._truth = validation, validation_labels.astype(np.float64)
        self._bound = settings.C
        self._kernel: Kernel = LinearKernel()
        if settings.kernel == "rbf":
            assert settings.gamma is not None
            self._kernel = RbfKernel(settings.gamma)
        self._gram = self._kernel(points, points)
        self._cross = self._kernel(validation, points)
        self.fits = 0
        self._fit()

    def move(self, to: Floats) -> None:
        """Put the last point there and train anew."""
        self.points[-1] = to
        self._gram[-1] = self._gram[:, -1] = self._kernel(self.points, to[None])[:, 0]
        self._cross[:, -1] = self._kernel(self._validation, to[None])[:, 0]
        self._fit()

    def slope(self) -> Floats:
        """Return the gradient of the validation loss by the last point, shape [D].

        On the margin, the support vectors S keep y f = 1, and all multipliers a keep a · y = 0.
        Both hold for the machine after a move, too: a linear system for the change of a_S and
        of the offset. Its matrix is symmetric, so that one solution serves all D directions.
        """
        signs, multipliers = self.labels, self.multipliers
        moved = multipliers[-1] * signs[-1]
        # Of the summed loss, by the validation points' scores.
        pull = -self._truth * (self._margins < 1)
        slope = self._kernel.slope(self._validation, moved * pull, self.points[-1])
        free = np.flatnonzero(
            (multipliers > _AT_BOUND * self._bound) & (multipliers < (1 - _AT_BOUND) * self._bound)
        )
        if len(free):
            sides = signs[free]
            system = np.zeros((len(free) + 1, len(free) + 1))
            system[:-1, :-1] = self._gram[np.ix_(free, free)] * np.outer(sides, sides)
            system[:-1, -1] = system[-1, :-1] = sides
            wanted = np.append(sides * (pull @ self._cross[:, free]), pull.sum())
            # Least squares: a copy of a training point under the other label is no unique case.
            answer = np.linalg.lstsq(system, wanted, rcond=None)[0][:-1] * sides
            weights = np.zeros(len(signs))
            weights[free] = moved * answer
            if free[-1] == len(signs) - 1:  # its own condition moves with it
                weights += answer[-1] * multipliers * signs
            slope -= self._kernel.slope(self.points, weights, self.points[-1])
        return slope / len(self._truth)

    def _fit(self) -> None:
        machine = SVC(C=self._bound, kernel="precomputed", tol=1e-6)
        # Of a fit of 100 points, scikit-learn's checks take most of the time.
        with config_context(skip_parameter_validation=True, assume_finite=True):
            machine.fit(self._gram, self.labels)
        self.multipliers = np.zeros(len(self.labels))
        self.multipliers[machine.support_] = np.abs(machine.dual_coef_[0])
        scores = self._cross @ (self.multipliers * self.labels) + machine.intercept_[0]
        self._margins = self._truth * scores
        self.loss = float(np.maximum(1 - self._margins, 0).mean())
        self.fits += 1


def _check(what: str, points: Floats, shape: tuple[int, ...]) -> None:
    if points.ndim != 2 or points.shape[1:] != shape or not len(points):
        allowed = f"shape [N, {shape[0]}]" if len(shape) == 1 else "shape [N, D]"
        raise InvalidRequestError(mismatch(what, allowed, f"shape {list(points.shape)}"))
    if not (points.min() >= 0 and points.max() <= 1):
        got = f"{points.min():.3g} to {points.max():.3g}"
        raise InvalidRequestError(mismatch(what, "numbers in [0, 1]", got))


def _check_labels(what: str, labels: Labels, count: int) -> None:
    if labels.shape != (count,):
        allowed = f"one for each of {count} points"
        raise InvalidRequestError(mismatch(what, allowed, f"shape {list(labels.shape)}"))
    if {*labels.tolist()} != {-1, 1}:
        found = ", ".join(map(str, sorted({*labels.tolist()})[:5]))
        raise InvalidRequestError(mismatch(what, "-1 and 1, both", found))
