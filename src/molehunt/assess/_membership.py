"""Membership: whether images of the training set can be told from others."""

from __future__ import annotations

import numpy as np
import torch

from molehunt.assess._assessor import Assessor, Costs, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import first_images
from molehunt.assess._copies import plan_copies, train_shadows
from molehunt.assess._draw import Line, draw_lines, rates_line
from molehunt.assess._risk import Measure, RiskStatus
from molehunt.attacks import (
    Exposure,
    LabelRobustness,
    LikelihoodRatio,
    LossThreshold,
    MembershipAttack,
    measure_membership,
)
from molehunt.networks import Reveals
from molehunt.rates import rate_interval

_MOST, _FEWEST, _FPR = 1000, 20, 0.01
_COPIES = 14  # of an image, by labels alone
_POINTS = 60  # of the curve
_TIMES = {1: "once", 3: "three times"}


class Membership(Assessor):
    """The share of members that are found with one of a hundred others mistaken for one.

    From confidences by the loss, from labels by how well an image's copies keep theirs: weak
    attacks, and where they find nothing, the risk is inconclusive. With shadow models, and more
    than labels, also by LiRA, online and offline. The worst of the attacks is the measure, which
    is by chance a little worse than each.
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

    def seconds(self, case: Case, queries: int, costs: Costs) -> float:
        """Answers, and the training of shadow models."""
        answers = super().seconds(case, queries, costs)
        if not _has_shadows(case) or case.members is None:
            return answers
        half = (len(case.members) + len(case.held) + len(case.pool)) / 2
        plan = plan_copies(case.model.card, case.pool.shape)
        return answers + case.shadows * half * plan.recipe.epochs * costs.training

    def measure(self, case: Case, purse: Purse) -> Found:
        """Score as many members as others, by one attack after the other."""
        assert case.members is not None
        labels_only = not case.reveals.allows(Reveals.ROUNDED)
        attacks = 3 if _has_shadows(case) else 1
        each = attacks * (_COPIES if labels_only else 1)
        purse.check(round(2 * each / _FPR), "telling members from others")
        others = case.held.joined(case.pool)
        count = min(_MOST, len(case.members), len(others), purse.queries // (2 * each))
        order = torch.randperm(
            len(case.members), generator=torch.Generator().manual_seed(case.seed)
        )
        images = case.members.take(order[:count]).joined(first_images(others, count))
        made: list[MembershipAttack] = [
            LabelRobustness(seed=case.seed) if labels_only else LossThreshold()
        ]
        knowledge = "the images in question and their labels"
        if _has_shadows(case):
            candidates = case.members.joined(others)
            shadows = train_shadows(case, candidates, purse.folder, purse.tell)
            # With few shadow models what they say of members' confidences can mislead.
            made += [LikelihoodRatio(shadows), LikelihoodRatio(shadows, online=False)]
            whose = plan_copies(case.model.card, candidates.shape).words
            knowledge += f", many like them, and of the model {whose}"
        seen = Reveals.LABELS if labels_only else case.without_weights
        exposures: dict[str, Exposure] = {}
        for attack in made:
            scores = attack.score(purse.ask(seen), images.images, images.labels)
            exposures[attack.name] = measure_membership(scores, torch.arange(2 * count) < count)
            purse.tell()
        copies = f"{_COPIES} copies of each image" if labels_only else f"each image {_TIMES[each]}"
        return self._describe(exposures, seen, f"ask about {copies}", knowledge)

    def _describe(
        self, exposures: dict[str, Exposure], seen: Reveals, may: str, knowledge: str
    ) -> Found:
        worst = max(exposures, key=lambda name: (_tpr(exposures[name]), exposures[name].auc[0]))
        exposure = exposures[worst]
        auc, auc_ends = exposure.auc
        tpr, tpr_ends = exposure.tpr_at(_FPR)
        count = len(exposure.members)
        told = any(each.auc[1][0] > 0.5 for each in exposures.values())
        why = "the attack is no better than chance"
        if len(exposures) > 1:
            why = "no attack is better than chance; more shadow models may find more"
        elif seen is not Reveals.LABELS:
            why += "; shadow models find more: --shadows 8"
        words = (
            f"{tpr:.1%} of {count} members are found by {worst} where {_FPR:.0%} of others are "
            f"taken for one (chance: {_FPR:.0%}); the area under the curve is {auc:.3f}."
        )
        for name, other in exposures.items():
            if name != worst:
                words += f" {name} finds {_tpr(other):.1%}, with an area of {other.auc[0]:.3f}."
        return Found(
            words=words,
            sees=seen,
            may=may,
            measures=[
                Measure(name="tpr", value=tpr, interval=tpr_ends, n=count),
                Measure(name="auc", value=auc, interval=auc_ends, n=2 * count, unit="area"),
            ],
            status=RiskStatus.MEASURED if told else RiskStatus.INCONCLUSIVE,
            why="" if told else why,
            knowledge=knowledge,
            exhibits=(
                draw_lines(
                    "Members that are found over others that are taken for one",
                    [_roc(name, each) for name, each in exposures.items()],
                    ("false positive rate", "true positive rate"),
                    log=True,
                ),
            ),
        )


def _has_shadows(case: Case) -> bool:
    return bool(case.shadows) and case.reveals.allows(Reveals.ROUNDED)


def _tpr(exposure: Exposure) -> float:
    return exposure.tpr_at(_FPR)[0]


def _roc(name: str, exposure: Exposure) -> Line:
    """Return the ROC from the smallest rate that is told, at places that logarithms show evenly."""
    false, true = exposure.roc()
    wanted = np.geomspace(exposure.least_fpr, 1, _POINTS)
    places = np.unique(np.searchsorted(false, wanted, side="right") - 1)
    count = len(exposure.members)
    hits = [(float(false[p]), round(float(true[p]) * count)) for p in places]
    shown = [(place, hit) for place, hit in hits if place > 0 and hit > 0]
    return rates_line(
        name,
        [place for place, _ in shown],
        [(hit / count, rate_interval(hit, count)) for _, hit in shown],
    )
