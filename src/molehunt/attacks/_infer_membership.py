"""Several attacks on membership on one model, each with what is to be said of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from molehunt.attacks._exposure import Exposure, measure_membership
from molehunt.attacks._membership import MembershipAttack
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import BudgetSpentError, Classifier, Queried, Reveals

# At which the literature reports.
USUAL_FPRS = (0.01, 0.001)


@dataclass(frozen=True)
class Inferred:
    """What one attack on membership found out about a model.

    Parameters
    ----------
    attack : MembershipAttack
    reveals : Reveals
        What the attack used of what the attacker saw.
    exposure : Exposure, optional
        None where the attack could not run.
    queries : int
    seconds : float
        On the clock, shadow models' answers included.
    remark : str
        What the reader should know; may be empty.
    """

    attack: MembershipAttack
    reveals: Reveals
    exposure: Exposure | None
    queries: int
    seconds: float
    remark: str


def infer_membership(
    model: Classifier,
    images: ImageSet,
    members: Tensor,
    attacks: Sequence[MembershipAttack],
    *,
    reveals: Reveals = Reveals.CONFIDENCES,
    budget: int | None = None,
) -> Iterator[Inferred]:
    """Attack a model one way after another; what was found is there if a later one fails.

    Parameters
    ----------
    model : Classifier
    images : ImageSet
    members : Tensor of bool, shape [N]
        Which of the images the model was trained on.
    attacks : sequence of MembershipAttack
    reveals : Reveals
        Of the weights these attacks use the confidences.
    budget : int, optional
        Queries of each attack.

    Yields
    ------
    Inferred

    Raises
    ------
    InvalidRequestError
        If images and members do not fit each other, or an attack does not know an image.

    Examples
    --------
    >>> import torch
    >>> from molehunt.attacks import LossThreshold
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits").test
    >>> model = build_classifier("mlp", digits, arguments={"hidden": [8]}, seed=0)
    >>> members = torch.arange(450) < 200
    >>> (found,) = infer_membership(model, digits, members, [LossThreshold()])
    >>> found.queries, found.remark.partition(":")[0]
    (450, '0.1 % false positives cannot be told')
    """
    if members.shape != images.labels.shape:
        got = f"shape {tuple(members.shape)}"
        raise InvalidRequestError(mismatch("members", f"one each of {len(images)} images", got))
    seen = Reveals.CONFIDENCES if reveals is Reveals.WEIGHTS else reveals

    def infer(attack: MembershipAttack) -> Inferred:
        used = Reveals.LABELS if attack.needs is Reveals.LABELS else seen
        target = Queried(model, reveals=used, budget=budget)
        started = time.perf_counter()
        exposure, remark = None, ""
        try:
            scores = attack.score(target, images.images, images.labels)
            exposure = measure_membership(scores, members)
        except (BudgetSpentError, UnsuitableSubjectError) as error:
            remark = f"not measured: {error}"
        seconds = time.perf_counter() - started
        if exposure is not None:
            remark = _remark(exposure)
        return Inferred(attack, used, exposure, target.queries, seconds, remark)

    return (infer(attack) for attack in attacks)


def _remark(exposure: Exposure) -> str:
    said = []
    untold = [fpr for fpr in USUAL_FPRS if fpr < exposure.least_fpr * (1 - 1e-9)]
    told = [fpr for fpr in USUAL_FPRS if fpr not in untold]
    if untold:
        rates = " and ".join(f"{100 * fpr:g} %" for fpr in untold)
        said.append(
            f"{rates} false positives cannot be told: {len(exposure.others)} non-members tell "
            f"{exposure.least_fpr:.2g} and more"
        )
    low, high = exposure.auc[1]
    # What is no better on average may name a few members all the same.
    if low <= 0.5 <= high and all(exposure.tpr_at(fpr)[1][0] <= fpr for fpr in told):
        said.append(
            "no better than chance, which does not say that no member can be told: another "
            "attack may do it"
        )
    return "; ".join(said)
