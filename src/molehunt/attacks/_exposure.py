"""How well scores tell members from other images, above all at few false positives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.rates import rate_interval

_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, eq=False)
class Exposure:
    """What an attack on membership finds out.

    Parameters
    ----------
    members : Tensor of float64, shape [n]
        Scores of images that the target was trained on, ascending.
    others : Tensor of float64, shape [m]
        Scores of images that it was not, ascending.

    Examples
    --------
    >>> scores = torch.tensor([4.0, 3.0, 1.0, 2.0, 0.0, -1.0])
    >>> members = torch.tensor([True, True, True, False, False, False])
    >>> exposure = measure_membership(scores, members)
    >>> round(exposure.auc[0], 3), round(exposure.tpr_at(1 / 3)[0], 3)
    (0.889, 1.0)
    """

    members: Tensor
    others: Tensor

    @cached_property
    def auc(self) -> tuple[float, tuple[float, float]]:
        """The area under the ROC curve with its 95 % interval (DeLong et al., 1988)."""
        of_members = _placements(self.members, self.others)
        of_others = _placements(self.others, self.members)
        area = float(of_members.mean())
        spread = _Z * math.sqrt(_variance(of_members) + _variance(of_others))
        return area, (max(0.0, area - spread), min(1.0, area + spread))

    @cached_property
    def balanced_accuracy(self) -> float:
        """The best that a threshold reaches, which is chosen on the same scores."""
        fprs, tprs = self.roc()
        return float((tprs + 1 - fprs).max()) / 2

    @property
    def least_fpr(self) -> float:
        """The smallest false positive rate, over 0, that so many non-members resolve."""
        return 1 / len(self.others)

    def threshold_at(self, fpr: float) -> float:
        """Return what a member's score must exceed for at most so many false positives.

        Raises
        ------
        InvalidRequestError
            If there are too few non-members to tell: less than 1 / `fpr`.
        """
        allowed = math.floor(fpr * len(self.others) + 1e-9)
        if not 1 <= allowed < len(self.others):
            least = f"{self.least_fpr:.2g} to under 1 with {len(self.others)} non-members"
            raise InvalidRequestError(mismatch("false positive rate", least, f"{fpr:g}"))
        return float(self.others[len(self.others) - allowed - 1])

    def tpr_at(self, fpr: float) -> tuple[float, tuple[float, float]]:
        """Return the share of members that are found at most at that false positive rate.

        With its exact 95 % interval for this threshold; that the threshold, too, was found on
        so many non-members, is not in it. Scores that are equal are on one side together.

        Raises
        ------
        InvalidRequestError
            As `threshold_at`.
        """
        found = int((self.members > self.threshold_at(fpr)).sum())
        return found / len(self.members), rate_interval(found, len(self.members))

    def roc(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return false and true positive rates, ascending from 0 to 1, one a threshold."""
        thresholds = torch.cat([self.members, self.others]).unique().flip(0)  # type: ignore[no-untyped-call]
        rates = [
            1 - torch.searchsorted(scores, thresholds).double().numpy() / len(scores)
            for scores in (self.others, self.members)
        ]
        false, true = (np.concatenate([[0.0], rate]) for rate in rates)
        return false, true


def measure_membership(scores: Tensor, members: Tensor) -> Exposure:
    """Return how well scores tell members from others.

    Parameters
    ----------
    scores : Tensor, shape [N]
        Of an attack: higher is rather a member.
    members : Tensor of bool, shape [N]

    Raises
    ------
    InvalidRequestError
        If a score is no number, or there are fewer than two members or two others.
    """
    if members.dtype != torch.bool or scores.shape != members.shape or scores.ndim != 1:
        got = f"{tuple(scores.shape)} and {members.dtype} {tuple(members.shape)}"
        raise InvalidRequestError(mismatch("scores and members", "[N] and bool [N]", got))
    if bool(scores.isnan().any()):
        raise InvalidRequestError(mismatch("scores", "numbers", "NaN"))
    count = int(members.sum())
    if min(count, len(members) - count) < 2:
        got = f"{count} and {len(members) - count}"
        raise InvalidRequestError(mismatch("members and non-members", "2 or more of each", got))
    scores = scores.double().cpu()
    members = members.cpu()
    return Exposure(scores[members].sort().values, scores[~members].sort().values)


def _placements(scores: Tensor, others: Tensor) -> Tensor:
    """Return for each score the share of the other side that is smaller; equal ones count half."""
    below = torch.searchsorted(others, scores)
    upto = torch.searchsorted(others, scores, right=True)
    return (below + upto).double() / (2 * len(others))


def _variance(placements: Tensor) -> float:
    return float(placements.var()) / len(placements)
