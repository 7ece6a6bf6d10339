"""How much poison a linear backdoor needs, from the clean classifier alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from scipy.special import expit

from molehunt.arrays import Floats
from molehunt.errors import InvalidRequestError, mismatch

Loss = Literal["hinge", "logistic", "squared"]
# How hard a point of this margin pulls: minus the derivative of its loss by the margin.
_PULLS: Mapping[str, Callable[[Floats], Floats]] = {
    "hinge": lambda margins: (margins < 1).astype(np.float64),
    "logistic": lambda margins: expit(-margins),
    "squared": lambda margins: 1 - margins,
}


def predict_dose(
    scores: Floats, *, strength: float, loss: Loss, C: float = 1.0, success: float = 0.5
) -> float:
    """Return how many poisoned points a regularised linear classifier needs.

    The classifier has the smallest \\|w\\|²/2 + C times the sum of its points' losses, so that
    w = C times the sum of label · pull · point, where a point's pull is minus the slope of its
    loss. Where clean images are black under the trigger, only poison gives weight to it: p
    points lower the score of a triggered image by C · strength · (sum of their pulls). The
    backdoor fires on a share of the images when that reaches the same quantile of their scores.
    The pulls are taken at that moment, and the rest of the classifier as it was: this is what
    the prediction neglects.

    No pull of a hinge or logistic loss is over 1. So C · strength · p is a bound on what p
    points can do, whatever becomes of the rest.

    Parameters
    ----------
    scores : array of float64, shape [N]
        What the clean classifier says of images of the source class; positive is right.
    strength : float
        Squared length of the trigger: the sum over its pixels of their squares.
    loss : {"hinge", "logistic", "squared"}
        max(0, 1 - m), log(1 + exp(-m)) or (1 - m)²/2 of the margin m.
    C : float
        One over the penalty: of ridge regression 1/alpha.
    success : float
        The share that shall be turned, in (0, 1].

    Returns
    -------
    float
        Infinite where the points stop pulling before.

    Raises
    ------
    InvalidRequestError
        For another loss or a number out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from molehunt.attacks import predict_dose
    >>> predict_dose(np.array([2.0]), strength=1.0, loss="hinge")
    2.0
    >>> predict_dose(np.array([2.0]), strength=1.0, loss="logistic")
    4.0
    """
    if loss not in _PULLS:
        raise InvalidRequestError(mismatch("loss", ", ".join(_PULLS), repr(loss)))
    if not (strength > 0 and C > 0 and 0 < success <= 1):
        got = f"strength {strength}, C {C}, success {success}"
        raise InvalidRequestError(mismatch("dose", "numbers over 0, success up to 1", got))
    wanted = float(np.quantile(scores, success))
    if wanted <= 0:
        return 0.0
    pull = float(_PULLS[loss](wanted - scores).mean())
    return wanted / (C * strength * pull) if pull > 0 else float("inf")
