"""Evasion by labels alone."""

from __future__ import annotations

import importlib.util

import torch

from molehunt.assess._assessor import Assessor, Costs, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import first_images
from molehunt.assess._draw import curve_line, draw_changed, draw_lines, share_of
from molehunt.assess._risk import Measure, RiskStatus
from molehunt.attacks import Norm, RandomPoints, curve_of, evade, new_attack
from molehunt.networks import Reveals

# HopSkipJump's questions of one image in so many steps.
_STEPS, _PRICE, _AT_ONCE, _FEWEST = 5, 800, 5, 5


class LabelsEvasion(Assessor):
    """How small a change finds who sees nothing but labels: HopSkipJump.

    Control: noise of the size that the attack found.
    """

    name = "evasion-labels"
    title = "Changes found by labels alone"
    share = 4.0
    measures = ("median_l2", "success")

    def obstacle(self, case: Case) -> str:
        """The attack is foolbox's."""
        if importlib.util.find_spec("foolbox") is None:
            return 'the attack is foolbox\'s: install the extra "attacks"'
        return case.guesses

    def seconds(self, case: Case, queries: int, costs: Costs) -> float:
        """Questions in small batches, with the library's own work between them."""
        return 2 * queries * costs.answer

    def measure(self, case: Case, purse: Purse) -> Found:
        """Attack a few images to the end rather than many in part."""
        purse.check(_FEWEST * _PRICE, f"an attack on {_FEWEST} images")
        images = first_images(case.right, min(50, purse.queries // _PRICE))
        radius = case.radius(Norm.L2)
        # Whoever attacks has pictures of other classes.
        attack = new_attack(
            "hopskipjump", norm=Norm.L2, steps=_STEPS, starts=case.pool.pixels()[:200]
        )
        target = purse.ask(Reveals.LABELS)
        found = evade(
            target, images, attack, seed=case.seed, batch_size=_AT_ONCE, progress=purse.tell
        )
        reached = found.attacked.nonzero().flatten()
        sizes = curve_of([found], Norm.L2).sizes[reached]
        turned = int((sizes <= radius).sum())
        median, of = _median("median_l2", sizes), len(reached)
        status, why = RiskStatus.MEASURED, ""
        if median.value != float("inf"):
            tried = images.take(reached)
            noise = evade(
                purse.ask(Reveals.CONFIDENCES), tried, RandomPoints(median.value, Norm.L2, 1)
            )
            if int(noise.success.sum()) >= of / 2:
                status = RiskStatus.INCONCLUSIVE
                why = f"noise of the same size turns {int(noise.success.sum())} of {of} images"
        else:
            status, why = RiskStatus.INCONCLUSIVE, f"it turned only {turned} of {of} images"
        return Found(
            words=f"With about {target.queries // max(1, of):,} questions an image the change "
            f"that is found has a median length of {median.value:.2g}.",
            sees=Reveals.LABELS,
            may="change every pixel, as little as can be found (L2)",
            measures=[median, share_of("success", turned, of)],
            status=status,
            why=why,
            knowledge="clean images of other classes",
            exhibits=(
                draw_lines(
                    "Of the images that the model gets right, the share that no change turns",
                    [curve_line("by labels", curve_of([found], Norm.L2), 3 * radius)],
                    ("length of the change (L2, pixels in [0, 1])", "accuracy left"),
                    steps=True,
                ),
                *draw_changed(found, case.model.card.class_names),
            ),
        )


def _median(name: str, sizes: torch.Tensor) -> Measure:
    """Return the median with the interval of its order statistics, at least 95 %."""
    from scipy.stats import binom  # noqa: PLC0415  heavy

    ordered, count = sizes.sort().values.tolist(), len(sizes)
    low = int(binom.ppf(0.025, count, 0.5)) - 1
    ends = (ordered[max(low, 0)], ordered[min(count - 1 - low, count - 1)])
    value = ordered[(count - 1) // 2]
    return Measure(name=name, value=value, interval=ends, n=count, worse="lower", unit="length")
