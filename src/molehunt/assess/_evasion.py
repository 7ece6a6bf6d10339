"""Evasion within a ball: by gradients where weights are revealed, by questions elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import Chase, beats, first_images
from molehunt.assess._draw import curve_line, draw_changed, draw_lines, share_of
from molehunt.assess._risk import RiskStatus
from molehunt.attacks import (
    AutoProjectedGradient,
    Loss,
    Norm,
    ProjectedGradient,
    RandomPoints,
    RandomSquares,
    curve_of,
    evade,
    find_warning_signs,
)
from molehunt.images import ImageSet
from molehunt.networks import Reveals

# Steps at the radius itself, on each of two losses; at each of three other radii; of controls.
_STEPS, _MOST_STEPS, _OTHER_STEPS, _CONTROL_STEPS = 45, 100, 10, 20
_SQUARES = 50  # of the control; an image
# Of an image: the other radii, the squares, and the controls beside them.
_FIXED = 3 * (_OTHER_STEPS + 1) + _SQUARES + 56
_PRICE = 2 * (_STEPS + 1) + _FIXED
_FEWEST = 10
_BROKEN = 0.9  # of the images: then no control is needed
_NAMES = {Norm.LINF: "L∞", Norm.L2: "L2"}


class BallEvasion(Assessor):
    """The share of images that a bounded change turns.

    With weights: APGD on cross entropy, then on the margin, with all the controls of
    `find_warning_signs`; a sign makes it inconclusive. With confidences: a search by squares,
    beside noise of the same size and a search without a bound.
    """

    gradients = 0.7
    measures = ("success",)
    norm: ClassVar[Norm]

    def obstacle(self, case: Case) -> str:
        """Labels alone are another risk's."""
        if not case.reveals.allows(Reveals.ROUNDED):
            return "it takes confidences; evasion-labels is the attack by labels"
        return case.guesses

    def measure(self, case: Case, purse: Purse) -> Found:
        """Attack as many images as the queries are enough for."""
        if case.reveals is Reveals.WEIGHTS:
            return self._by_gradients(case, purse)
        return self._by_questions(case, purse)

    def _by_gradients(self, case: Case, purse: Purse) -> Found:
        purse.check(_FEWEST * _PRICE, f"an attack on {_FEWEST} images with its controls")
        images = first_images(case.right, purse.queries // _PRICE)
        # Where images are few, what is left makes both attacks longer.
        steps = min(_MOST_STEPS, (purse.queries // len(images) - _FIXED) // 2 - 1)
        epsilon = case.radius(self.norm)
        attack = AutoProjectedGradient(epsilon, self.norm, steps)
        rough = replace(attack, steps=_OTHER_STEPS)
        chase = Chase(purse.ask(Reveals.WEIGHTS), images, case.seed, purse.tell)
        for share in (0.25, 0.5):
            chase.run(replace(rough, epsilon=share * epsilon))
        chase.run(attack)
        found = chase.run(replace(attack, loss=Loss.MARGIN))
        sizes = curve_of([chase.run(replace(rough, epsilon=2 * epsilon))], self.norm)
        turned, of = int(found.success.sum()), len(images)
        status, why = RiskStatus.MEASURED, ""
        if turned < _BROKEN * of:
            control = ProjectedGradient(epsilon, self.norm, _CONTROL_STEPS)
            signs = find_warning_signs(
                chase.target, images, control, found=found, queries=_SQUARES, seed=case.seed
            )
            # Whatever turned an image, it is turned.
            turned = signs.right - signs.left_by_all
            if signs.shown:
                status, why = RiskStatus.INCONCLUSIVE, "; ".join(map(str, signs.shown))
        return Found(
            words=_say(turned, of, status),
            sees=Reveals.WEIGHTS,
            may=self._may(epsilon),
            measures=[share_of("success", turned, of)],
            status=status,
            why=why,
            exhibits=(
                draw_lines(
                    "Of the images that the model gets right, the share that no change turns",
                    [curve_line("by gradients", sizes, 2 * epsilon)],
                    (f"largest change ({_NAMES[self.norm]}, pixels in [0, 1])", "accuracy left"),
                    steps=True,
                ),
                *draw_changed(found, case.model.card.class_names),
            ),
        )

    def _by_questions(self, case: Case, purse: Purse) -> Found:
        purse.check(_FEWEST * 40, f"a search on {_FEWEST} images with its controls")
        # Two thirds for the attack, a tenth for noise, the rest for the search without a bound.
        images = first_images(case.right, max(_FEWEST, min(50, purse.queries // 150)))
        each = purse.queries // len(images)
        epsilon = case.radius(self.norm)
        target = purse.ask(case.without_weights)
        found, noise, free = (
            evade(target, images, attack, seed=case.seed, progress=purse.tell)
            for attack in (
                RandomSquares(epsilon, self.norm, each * 2 // 3),
                RandomPoints(epsilon, self.norm, max(1, each // 10)),
                RandomSquares(_whole(self.norm, images), self.norm, max(1, each // 5)),
            )
        )
        turned, of = int((found.success | noise.success).sum()), len(images)
        status, why = RiskStatus.MEASURED, ""
        if turned < _BROKEN * of and int(free.success.sum()) < _BROKEN * of:
            status = RiskStatus.INCONCLUSIVE
            why = f"a search without a bound turns only {int(free.success.sum())} of {of} images"
        elif turned < _BROKEN * of and not beats(found.success, noise.success):
            status = RiskStatus.INCONCLUSIVE
            why = (
                f"the search turns {int(found.success.sum())} of {of} images, noise of the same "
                f"size {int(noise.success.sum())}: so few say nothing of the others"
            )
        return Found(
            words=_say(turned, of, status),
            sees=target.reveals,
            may=self._may(epsilon),
            measures=[share_of("success", turned, of)],
            status=status,
            why=why,
            exhibits=draw_changed(found, case.model.card.class_names),
        )

    def _may(self, epsilon: float) -> str:
        size = f"{epsilon * 255:.3g}/255" if self.norm is Norm.LINF else f"{epsilon:g}"
        return f"change every pixel, {_NAMES[self.norm]} up to {size}"


class LinfEvasion(BallEvasion):
    """In the maximum norm."""

    name = "evasion-linf"
    title = "Small changes of every pixel"
    share = 3.0
    norm = Norm.LINF


class L2Evasion(BallEvasion):
    """In the Euclidean norm."""

    name = "evasion-l2"
    title = "Changes of small Euclidean length"
    share = 3.0
    norm = Norm.L2


def _whole(norm: Norm, images: ImageSet) -> float:
    """Return the radius of a ball that holds every image."""
    return 1.0 if norm is Norm.LINF else float(images.images[0].numel()) ** 0.5


def _say(turned: int, of: int, status: RiskStatus) -> str:
    if status is RiskStatus.INCONCLUSIVE:
        return (
            f"At least {turned} of {of} images are turned. The attack failed its controls, so "
            "the rest is not known to withstand it."
        )
    if turned >= _BROKEN * of:
        return f"Hardly an image withstands: {turned} of {of} are turned."
    return f"{turned} of {of} images are turned; no control says that the attack failed."
