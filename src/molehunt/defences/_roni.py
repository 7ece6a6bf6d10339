"""Reject on negative impact: training points that make a learner worse are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from molehunt.arrays import Floats
from molehunt.defences._suspects import Labels, check_suspects
from molehunt.errors import InvalidRequestError, mismatch


def reject_negative_impact(
    learner: Any,
    points: Floats,
    labels: Labels,
    *,
    base: int = 20,
    quiz: int = 50,
    trials: int = 4,
    harm: float = 0.02,
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return which training points do no harm (RONI; Nelson and others, LEET 2008, section 5.1).

    A round draws a base and a quiz from the set itself. The learner is trained on the base, and
    on the base with one of the other points; the point's impact is how many answers to the quiz
    it turns wrong. In the paper base and quiz are clean and the limit is chosen by hand.

    Parameters
    ----------
    learner : estimator of scikit-learn
        A copy of it is trained; it stays as it is.
    points, labels : arrays, shapes [N, D] and [N]
        The training set that may be poisoned.
    base, quiz : int
        Points of each.
    trials : int
        Rounds in which each point is judged.
    harm : float
        Share of the quiz. A point that turns more of it wrong, on the mean over its rounds, is
        rejected.
    generator : numpy.random.Generator

    Returns
    -------
    array of bool, shape [N]
        False for the points that are rejected.

    Raises
    ------
    InvalidRequestError
        If the set has no two classes, or too few points for base, quiz and one more.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVC
    >>> from molehunt.defences import reject_negative_impact
    >>> rng = np.random.default_rng(0)
    >>> labels = np.tile([-1, 1], 25)
    >>> points = labels[:, None] + 0.5 * rng.normal(size=(50, 2))
    >>> points[0], labels[0] = 20, -1
    >>> machine = SVC(kernel="linear")
    >>> kept = reject_negative_impact(machine, points, labels, quiz=20, trials=2, generator=rng)
    >>> bool(kept[0]), bool(kept.mean() > 0.8)
    (False, True)
    """
    check_suspects(points, labels)
    count = len(labels)
    if min(base, quiz, trials) < 1 or base + quiz >= count:
        got = f"base {base}, quiz {quiz} and {trials} trials for {count}"
        allowed = "1 or more of each, and more points than base and quiz together"
        raise InvalidRequestError(mismatch("RONI", allowed, got))
    impact, judged = np.zeros(count), np.zeros(count, dtype=np.int64)
    while judged.min() < trials:
        order = generator.permutation(count)
        ground, asked = order[:base], order[base : base + quiz]
        if len({*labels[ground].tolist()}) < 2:
            continue  # no learner takes one class

        def right(chosen: NDArray[np.int64], asked: NDArray[np.int64] = asked) -> int:
            trained = clone(learner).fit(points[chosen], labels[chosen])
            return int((trained.predict(points[asked]) == labels[asked]).sum())

        before = right(ground)
        for suspect in order[base + quiz :][judged[order[base + quiz :]] < trials]:
            impact[suspect] += before - right(np.append(ground, suspect))
            judged[suspect] += 1
    kept: NDArray[np.bool_] = impact / judged <= harm * quiz
    return kept
