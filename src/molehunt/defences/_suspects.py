"""What defences take for a training set that may be poisoned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.arrays import Floats
from molehunt.errors import InvalidRequestError, mismatch

Labels = NDArray[Any]


def check_suspects(points: Floats, labels: Labels) -> None:
    """Refuse what is no training set.

    Raises
    ------
    InvalidRequestError
        If shapes do not fit, a number is not finite, or there is one class only.
    """
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        got = f"shapes {list(points.shape)} and {list(labels.shape)}"
        raise InvalidRequestError(mismatch("points and labels", "shapes [N, D] and [N]", got))
    if not np.isfinite(points).all():
        wrong = int((~np.isfinite(points)).any(1).sum())
        raise InvalidRequestError(mismatch("points", "finite numbers", f"{wrong} others"))
    if len({*labels.tolist()}) < 2:
        raise InvalidRequestError(mismatch("labels", "two classes or more", "one"))
