"""How far one class stands out among all classes of a model."""

from __future__ import annotations

import math

import numpy as np

from molehunt.arrays import Floats


def robust_z(values: Floats) -> Floats:
    """Return each value's distance from the median, in robust standard deviations: [K].

    The standard deviation is 1.4826 times the median absolute deviation, or, where more than
    half of the values are alike, 1.2533 times the mean one. All 0 where all are alike.
    """
    distance = values - np.median(values)
    spread = 1.4826 * np.median(np.abs(distance))
    spread = spread or 1.2533 * np.mean(np.abs(distance))
    z: Floats = distance / spread if spread else np.zeros_like(distance)
    return z


def log10_p_of_largest(log_tail: float, count: int) -> float:
    """Return log10 of the chance that the largest of `count` draws is as large.

    It stays finite where the chance itself is too small for a float.

    Parameters
    ----------
    log_tail : float
        Natural logarithm of the chance that a single draw is.
    count : int
        Of independent draws.

    Examples
    --------
    >>> round(10 ** log10_p_of_largest(math.log(0.01), 10), 4)
    0.0956
    >>> round(log10_p_of_largest(-2000.0, 10), 1)
    -867.6
    """
    if log_tail < math.log(1e-12):
        return (log_tail + math.log(count)) / math.log(10)
    tail = min(math.exp(log_tail), 1 - 1e-16)
    return float(np.log10(-np.expm1(count * np.log1p(-tail))))
