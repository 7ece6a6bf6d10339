"""A physical mask: a sticker that the attacker paints."""

from __future__ import annotations

import torch

from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import beats, first_images
from molehunt.assess._draw import draw_changed, share_of
from molehunt.assess._risk import RiskStatus
from molehunt.attacks import Masked, RandomColours, Swarm, draw_sticker, evade
from molehunt.networks import Reveals

_STEPS, _PARTICLES, _SIZE, _FEWEST, _CONTROLS = 50, 20, 0.3, 10, 10


class MaskEvasion(Assessor):
    """The share of images that a painted sticker turns; nothing else is changed.

    Controls: the same sticker in random colours, and paint over the whole image, which must
    succeed.
    """

    name = "evasion-mask"
    title = "A painted sticker"
    share = 2.0
    gradients = 1.0
    measures = ("success", "random")

    def obstacle(self, case: Case) -> str:
        """It takes confidences."""
        if not case.reveals.allows(Reveals.ROUNDED):
            return "it takes weights or confidences"
        return case.guesses

    def measure(self, case: Case, purse: Purse) -> Found:
        """Paint each image's sticker: by gradients, or by a swarm that asks."""
        white = case.reveals is Reveals.WEIGHTS
        most = _STEPS if white else _PARTICLES * _STEPS // 2
        controls = (_CONTROLS if white else _CONTROLS // 2) * most
        purse.check(_FEWEST * most + controls, f"painting {_FEWEST} images")
        images = first_images(case.right, (purse.queries - controls) // most)
        _, height, width = images.shape
        mask = draw_sticker(height, width, size=(_SIZE, _SIZE))

        def painted(mask: torch.Tensor) -> Masked | Swarm:
            if white:
                return Masked(mask, steps=_STEPS)
            return Swarm(mask, particles=_PARTICLES, steps=_STEPS // 2, epochs=1)

        seen = Reveals.WEIGHTS if white else case.without_weights
        target = purse.ask(seen)
        found = evade(target, images, painted(mask), seed=case.seed, progress=purse.tell)
        chance = evade(target, images, RandomColours(mask), seed=case.seed)
        some = first_images(images, controls // most)
        whole = evade(target, some, painted(_nearly_all(mask)), seed=case.seed)
        turned, of = int(found.success.sum()), int(found.attacked.sum())
        random, free = int(chance.success.sum()), int(whole.success.sum())
        status, why = RiskStatus.MEASURED, ""
        if turned < 0.9 * of and free < 0.9 * len(some):
            status = RiskStatus.INCONCLUSIVE
            why = f"paint over the whole image turns only {free} of {len(some)}"
        elif turned < 0.9 * of and not beats(found.success, chance.success):
            status = RiskStatus.INCONCLUSIVE
            why = f"random colours turn hardly fewer: {random} of {len(images)}"
        share = float(mask.float().mean())
        return Found(
            words=f"A sticker on {share:.0%} of the image turns {turned} of {of} images; in "
            f"random colours it turns {random} of {len(images)}.",
            sees=seen,
            may=f"paint a sticker in the middle ({share:.0%} of the pixels)",
            measures=[
                share_of("success", turned, of),
                share_of("random", random, len(images)),
            ],
            status=status,
            why=why,
            exhibits=draw_changed(found, case.model.card.class_names),
        )


def _nearly_all(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask of the whole image; one of every pixel is refused."""
    whole = torch.ones_like(mask)
    whole[0, 0] = False
    return whole
