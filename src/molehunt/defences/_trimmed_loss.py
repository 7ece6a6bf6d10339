"""A support vector machine on the points that fit together best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from molehunt.arrays import Floats
from molehunt.defences._suspects import Labels, check_suspects
from molehunt.errors import InvalidRequestError, mismatch

_MOST_TURNS = 20


def trim_losses(
    machine: Any,
    points: Floats,
    labels: Labels,
    *,
    share: float = 0.1,
    starts: int = 20,
    first: float = 0.3,
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return the training points on which a support vector machine's objective is smallest.

    As TRIM does for regression (Jagielski and others, S&P 2018, Algorithm 2): a machine is
    trained on some points, the points with the smallest losses are taken for the next one, and
    so on until they stay. A poisoned point has no loss on a machine that was trained on it, so
    that one start from all points would keep it. Here several start from a few points each, as
    in FAST-LTS (Rousseeuw and Van Driessen, 2006); the smallest objective, 1/2 \\|w\\|² and C
    times the hinge losses, says which is taken.

    Parameters
    ----------
    machine : sklearn.svm.SVC
        A copy of it is trained; it stays as it is.
    points, labels : arrays, shapes [N, D] and [N]
        The training set that may be poisoned; labels of two classes.
    share : float
        Of the points that are left out, in (0, 1); also where none is poisoned.
    starts : int
    first : float
        Share of the points that a start draws, in (0, 1).
    generator : numpy.random.Generator

    Returns
    -------
    array of bool, shape [N]
        True for the points that are kept.

    Raises
    ------
    InvalidRequestError
        If there are not two classes, or a setting is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVC
    >>> from molehunt.defences import trim_losses
    >>> rng = np.random.default_rng(0)
    >>> labels = np.tile([-1, 1], 50)
    >>> points = labels[:, None] + 0.3 * rng.normal(size=(100, 2))
    >>> points[:5], labels[:5] = 3, -1
    >>> kept = trim_losses(SVC(kernel="linear"), points, labels, generator=rng)
    >>> int(kept.sum()), int(kept[:5].sum())
    (90, 0)
    """
    check_suspects(points, labels)
    classes = np.unique(labels)
    if len(classes) != 2:
        raise InvalidRequestError(mismatch("labels", "two classes", len(classes)))
    if not (0 < share < 1 and 0 < first < 1 and starts >= 1):
        got = f"share {share}, first {first}, {starts} starts"
        raise InvalidRequestError(mismatch("trimming", "shares in (0, 1) and a start", got))
    sides = np.where(labels == classes[1], 1.0, -1.0)
    count = len(labels)
    keep = count - round(share * count)
    best, taken = np.inf, np.arange(count)
    for _ in range(starts):
        chosen = np.sort(generator.permutation(count)[: max(2, round(first * count))])
        objective = np.inf
        for _ in range(_MOST_TURNS):
            if len({*sides[chosen].tolist()}) < 2:
                break  # no machine takes one class
            trained = clone(machine).fit(points[chosen], labels[chosen])
            losses = np.maximum(0, 1 - sides * trained.decision_function(points))
            before, chosen = chosen, np.sort(np.argsort(losses, kind="stable")[:keep])
            objective = _squared_norm(trained) / 2 + trained.C * losses[chosen].sum()
            if np.array_equal(before, chosen):
                break
        if objective < best:
            best, taken = objective, chosen
    kept = np.zeros(count, dtype=np.bool_)
    kept[taken] = True
    return kept


def _squared_norm(machine: Any) -> float:
    """Return |w|², whatever the kernel: w · w is a sum over the support vectors' scores."""
    scores = machine.decision_function(machine.support_vectors_) - machine.intercept_[0]
    return float(machine.dual_coef_[0] @ scores)
