"""Membership: whether images of the training set can be told from others."""

from __future__ import annotations

import numpy as np
import torch

from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import first_images
from molehunt.assess._draw import Line, draw_lines, rates_line
from molehunt.assess._risk import Measure, RiskStatus
from molehunt.attacks import Exposure, LabelRobustness, LossThreshold, measure_membership
from molehunt.networks import Reveals
from molehunt.rates import rate_interval

_MOST, _FEWEST, _FPR = 1000, 20, 0.01
_COPIES = 14  # of an image, by labels alone
_POINTS = 60  # of the curve


class Membership(Assessor):
    """The share of members that are found with one of a hundred others mistaken for one.

    From confidences by the loss, from labels by how well an image's copies keep theirs. Both need
    no shadow models and are weak: where they find nothing, the risk is inconclusive.
    """

    name = "membership"
    title = "Who was in the training set"
    share = 1.0
    measures = ("tpr", "auc")

    def obstacle(self, case: Case) -> str:
        """It takes members."""
        if case.members is None:
            return "no --members given: images that the model was trained on"
        if min(len(case.members), len(case.held) + len(case.pool)) < 1 / _FPR:
            return f"it takes {1 / _FPR:.0f} members and as many others"
        return ""

    def measure(self, case: Case, purse: Purse) -> Found:
        """Score as many members as others."""
        assert case.members is not None
        labels_only = not case.reveals.allows(Reveals.ROUNDED)
        each = _COPIES if labels_only else 1
        purse.check(round(2 * each / _FPR), "telling members from others")
        others = case.held.joined(case.pool)
        count = min(_MOST, len(case.members), len(others), purse.queries // (2 * each))
        order = torch.randperm(
            len(case.members), generator=torch.Generator().manual_seed(case.seed)
        )
        images = case.members.take(order[:count]).joined(first_images(others, count))
        target = purse.ask(Reveals.LABELS if labels_only else case.without_weights)
        attack = LabelRobustness(seed=case.seed) if labels_only else LossThreshold()
        scores = attack.score(target, images.images, images.labels)
        exposure = measure_membership(scores, torch.arange(2 * count) < count)
        auc, (low, high) = exposure.auc
        tpr, ends = exposure.tpr_at(_FPR)
        told = low > 0.5
        return Found(
            words=f"{tpr:.1%} of {count} members are found where {_FPR:.0%} of others are taken "
            f"for one (chance: {_FPR:.0%}); the area under the curve is {auc:.3f}.",
            sees=target.reveals,
            may=f"ask about {each} {'copies of each image' if labels_only else 'image each'}",
            measures=[
                Measure(name="tpr", value=tpr, interval=ends, n=count),
                Measure(name="auc", value=auc, interval=(low, high), n=2 * count, unit="area"),
            ],
            status=RiskStatus.MEASURED if told else RiskStatus.INCONCLUSIVE,
            why=""
            if told
            else "the attack is no better than chance; shadow models find more: molehunt attack "
            "infer --shadows",
            knowledge="the images in question and their labels",
            exhibits=(
                draw_lines(
                    "Members that are found over others that are taken for one",
                    [_roc(exposure)],
                    ("false positive rate", "true positive rate"),
                    log=True,
                ),
            ),
        )


def _roc(exposure: Exposure) -> Line:
    """Return the ROC from the smallest rate that is told, at places that logarithms show evenly."""
    false, true = exposure.roc()
    wanted = np.geomspace(exposure.least_fpr, 1, _POINTS)
    places = np.unique(np.searchsorted(false, wanted, side="right") - 1)
    count = len(exposure.members)
    hits = [(float(false[p]), round(float(true[p]) * count)) for p in places]
    shown = [(place, hit) for place, hit in hits if place > 0 and hit > 0]
    return rates_line(
        "by the attack",
        [place for place, _ in shown],
        [(hit / count, rate_interval(hit, count)) for _, hit in shown],
    )
