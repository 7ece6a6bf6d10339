"""From a score to a statement with a stated false-alarm rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from molehunt.arrays import Floats


def conformal_p_values(scores: ArrayLike, clean_scores: ArrayLike) -> Floats:
    """Return p = (1 + #{clean scores >= s}) / (n + 1) for each score s.

    For a clean model that is exchangeable with the n calibration models, p is at most
    alpha with probability at most alpha (Vovk et al., 2005).

    Examples
    --------
    >>> conformal_p_values([0.25, 9.0], [0.1, 0.2, 0.3]).tolist()
    [0.5, 0.25]
    """
    clean = np.sort(np.asarray(clean_scores, dtype=np.float64))
    below = np.searchsorted(clean, np.asarray(scores, dtype=np.float64), side="left")
    return np.asarray((1.0 + len(clean) - below) / (len(clean) + 1.0), dtype=np.float64)


def conformal_threshold(clean_scores: ArrayLike, max_false_alarms: float) -> float:
    """Return t such that ``score > t`` is ``p <= max_false_alarms``.

    Infinite where so few calibration models cannot give so small a p-value.
    """
    clean = np.sort(np.asarray(clean_scores, dtype=np.float64))[::-1]
    # The guard keeps 0.05 * 20 from falling a rounding error short of 1.
    allowed = math.floor(max_false_alarms * (len(clean) + 1) + 1e-9) - 1
    if allowed < 0:
        return math.inf
    return float(clean[allowed]) if allowed < len(clean) else -math.inf


def models_needed(max_false_alarms: float) -> int:
    """Return how many clean calibration models a verdict at this rate takes.

    Examples
    --------
    >>> models_needed(0.05), models_needed(0.01)
    (19, 99)
    """
    return math.ceil(1 / max_false_alarms - 1e-9) - 1
