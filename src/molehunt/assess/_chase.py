"""Attacks one after the other on the images that are still left."""

from __future__ import annotations

from dataclasses import replace

import torch

from molehunt.attacks import Evaded, EvasionAttack, evade
from molehunt.errors import UnsuitableSubjectError
from molehunt.images import ImageSet
from molehunt.networks import Queried
from molehunt.progress import Progress


class Chase:
    """Attack images until each is turned; a later attack leaves alone what is turned.

    Parameters
    ----------
    target : Queried
    images : ImageSet
    seed : int
    progress : Progress
    """

    def __init__(self, target: Queried, images: ImageSet, seed: int, progress: Progress) -> None:
        self.target, self.images = target, images
        self._seed, self._progress = seed, progress
        self._found: Evaded | None = None

    def run(self, attack: EvasionAttack) -> Evaded:
        """Attack what is left, and return what all attacks so far did to all images.

        Raises
        ------
        UnsuitableSubjectError
            If the target's answers are not finite.
        """
        before = self._found
        if before is None:
            self._found = self._evade(self.images, attack)
            return self._found
        left = (~before.success).nonzero().flatten()
        if not len(left):
            return before
        after = self._evade(self.images.take(left), attack)
        images, predictions = before.images.clone(), before.predictions.clone()
        attacked = before.attacked.clone()
        images[left], predictions[left] = after.images, after.predictions
        attacked[left] |= after.attacked
        self._found = replace(
            before,
            images=images,
            predictions=predictions,
            attacked=attacked,
            queries=before.queries + after.queries,
            seconds=before.seconds + after.seconds,
            note=after.note,
        )
        return self._found

    def _evade(self, images: ImageSet, attack: EvasionAttack) -> Evaded:
        found = evade(self.target, images, attack, seed=self._seed, progress=self._progress)
        if not bool(found.attacked.any()):
            raise UnsuitableSubjectError(found.note or "no image could be attacked")
        return found


def first_images(images: ImageSet, count: int) -> ImageSet:
    """Return the first images, as many as there are."""
    return images.take(torch.arange(min(count, len(images))))


def beats(found: torch.Tensor, control: torch.Tensor) -> bool:
    """Tell whether an attack turns more images than its control, image by image, at 1 %.

    Both are bool [N]; McNemar's exact test.
    """
    from scipy.stats import binomtest  # noqa: PLC0415  heavy

    mine = int((found & ~control).sum())
    its = int((control & ~found).sum())
    return mine + its > 0 and binomtest(mine, mine + its, 0.5, "greater").pvalue < 0.01
