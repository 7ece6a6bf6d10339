"""Rates with their exact intervals."""

from __future__ import annotations

from scipy.special import betaincinv


def rate_interval(hits: int, of: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate that was seen in `hits` of so many cases.

    By Clopper and Pearson (1934); of no cases it is 0 to 1.

    Examples
    --------
    >>> low, high = rate_interval(2, 36)
    >>> round(low, 3), round(high, 3)
    (0.007, 0.187)
    """
    hits = min(hits, of)  # a file of a stranger says what it likes
    low = float(betaincinv(hits, of - hits + 1, 0.025)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, of - hits, 0.975)) if hits < of else 1.0
    return low, high
