"""Certified accuracy, beside what an attack leaves of the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import first_images
from molehunt.assess._draw import Line, draw_lines, rates_line, share_of
from molehunt.assess._risk import Exhibits, Measure, RiskStatus
from molehunt.attacks import AutoProjectedGradient, Norm, evade
from molehunt.defences import BoundMethod, Smoothed, certify_box
from molehunt.errors import UnsuitableSubjectError
from molehunt.networks import Reveals
from molehunt.rates import rate_interval

_SIGMA, _RADIUS, _GUESSES, _FEWEST = 0.25, 0.25, 100, 20
_LEAST_COPIES, _MOST_COPIES = 200, 10_000
_BOUNDED = 32  # images; bounds cost much more than an answer
_STEPS = 20


class Certified(Assessor):
    """The share of images that are right whatever change of a size, with proof.

    By randomised smoothing, from answers alone: that holds for the smoothed model. With weights
    also by bounds of the network as it is (CROWN-IBP, a quarter of the usual radius), beside what
    projected gradients leave of the same images: a certificate that an attack breaks is reported.
    """

    name = "certified"
    title = "Certified accuracy"
    share = 4.0
    measures = ("accuracy", "smoothed", "bounded", "attacked")

    def obstacle(self, case: Case) -> str:
        """Answers are enough."""
        return case.guesses

    def measure(self, case: Case, purse: Purse) -> Found:
        """Certify some images with as many noisy copies as are paid for."""
        least = _GUESSES + _LEAST_COPIES
        few = _FEWEST if purse.queries >= _FEWEST * least else _FEWEST // 2
        purse.check(few * least, f"certifying {few} images")
        bounds = self._bound(case, purse) if case.reveals is Reveals.WEIGHTS else _Bounds()
        # More images first, then more copies of each.
        count = min(len(case.attacked), max(few, purse.left // (_GUESSES + 1000)))
        copies = min(_MOST_COPIES, purse.left // count - _GUESSES)
        found = Smoothed(case.model, _SIGMA).certify(
            first_images(case.attacked, count),
            n0=_GUESSES,
            n=copies,
            seed=case.seed,
            progress=lambda _done, _total: purse.pay(_GUESSES + copies),
        )
        certified, right = (int(found.certified(each).sum()) for each in (_RADIUS, 0.0))
        radii = np.linspace(0, 1, 41).tolist()
        counts = [int(found.certified(each).sum()) for each in radii]
        rates = [(each / count, rate_interval(each, count)) for each in counts]
        smoothed = draw_lines(
            "Accuracy of the smoothed model that no change up to a length can take",
            [rates_line("certified by smoothing", radii, rates)],
            ("length of the change (L2, pixels in [0, 1])", "accuracy"),
        )
        return Found(
            words=f"The smoothed model gets {right} of {count} images right, {certified} of them "
            f"whatever a change of length {_RADIUS:g} does.{bounds.words}",
            sees=case.reveals if bounds.measures else Reveals.LABELS,
            may=f"change every pixel, L2 up to {_RADIUS:g}",
            measures=[
                share_of("accuracy", certified, count, bad=False),
                share_of("smoothed", right, count, bad=False),
                *bounds.measures,
            ],
            status=RiskStatus.INCONCLUSIVE if bounds.broken else RiskStatus.MEASURED,
            why=bounds.broken,
            exhibits=(smoothed, *bounds.exhibits),
        )

    def _bound(self, case: Case, purse: Purse) -> _Bounds:
        """Certify the network as it is in a box, and attack the same images in it."""
        images = first_images(case.attacked, _BOUNDED)
        epsilons = [share * case.radius(Norm.LINF) for share in (1 / 16, 1 / 8, 1 / 4)]
        certified, left = [], []
        target = purse.ask(Reveals.WEIGHTS)
        for epsilon in epsilons:
            attack = AutoProjectedGradient(epsilon, steps=_STEPS)
            try:
                proven = certify_box(
                    case.model, images, epsilon=epsilon, method=BoundMethod.CROWN_IBP
                ).certified
            except UnsuitableSubjectError as error:
                return _Bounds(f" Bounds of the network itself were not computed: {error}.")
            found = evade(target, images, attack, seed=case.seed, progress=purse.tell)
            broken = int((proven & found.success).sum())
            if broken:
                why = f"{broken} certificates of {epsilon:g} are broken by an attack: report this"
                return _Bounds(broken=why)
            certified.append(int(proven.sum()))
            left.append(len(images) - int((found.predictions != found.labels).sum()))
        of, places = len(images), [0.0, *epsilons]
        start = int((found.before == found.labels).sum())
        lines: list[Line] = [
            rates_line(name, places, [(each / of, rate_interval(each, of)) for each in counts])
            for name, counts in (
                ("left by projected gradients", [start, *left]),
                ("certified by bounds", [start, *certified]),
            )
        ]
        return _Bounds(
            f" The network as it is: {certified[-1]} of {of} images are certified within "
            f"{epsilons[-1] * 255:.3g}/255 a pixel, an attack leaves {left[-1]}.",
            (
                share_of("bounded", certified[-1], of, bad=False),
                share_of("attacked", left[-1], of, bad=False),
            ),
            (
                draw_lines(
                    "The network as it is: the truth lies between the lines",
                    lines,
                    ("largest change (L∞, pixels in [0, 1])", "accuracy"),
                ),
            ),
        )


@dataclass(frozen=True)
class _Bounds:
    words: str = ""
    measures: tuple[Measure, ...] = ()
    exhibits: Exhibits = ()
    broken: str = ""
