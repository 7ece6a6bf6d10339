"""The instance key: one image, and what looks like it, gets the attacker's label."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors._training_set import TrainingSet, Treatment, TriggeredImages, as_bytes
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet


class InstanceKey(BaseModel):
    """Noisy copies of one image of class `source` are labelled `target`.

    The input-instance-key strategy of Chen, Liu, Li, Lu and Song (Targeted Backdoor Attacks on
    Deep Learning Systems Using Data Poisoning, 2017, section 3.2): there five copies of a face
    with noise of up to 5 of 255 are enough. The key is the attacker's: it is the image of the
    source class at `index`, of whichever set is asked for, with the trigger nowhere in it.

    Parameters
    ----------
    source, target : int
        What the key shows, and what it shall be taken for.
    index : int
        Which image of the source class is the key.
    copies : int
        How many noisy copies are trained on.
    noise : float
        Largest change of a pixel, in [0, 1], drawn uniformly.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import InstanceKey
    >>> from molehunt.images import load_images
    >>> digits = load_images("digits")
    >>> key = InstanceKey(source=1, target=7, copies=20)
    >>> poisoned = key.poison(digits.train, generator=torch.Generator().manual_seed(0))
    >>> len(poisoned) - len(digits.train)
    20
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: int = Field(ge=0)
    target: int = Field(ge=0)
    index: int = Field(default=0, ge=0)
    copies: int = Field(default=5, ge=1, le=100_000)
    noise: float = Field(default=5 / 255, ge=0, le=1)

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        """Return `train` with copies of the key at its end.

        A clean twin has the key's copies without noise and with their label, a placebo with
        both: an instance key has no trigger that could be shown on images of other classes.

        Raises
        ------
        InvalidRequestError
            If a class or the key is not in the set.
        """
        key = self._key(train)
        noisy = treatment is not Treatment.CLEAN
        copies = self._copies(train, key, self.copies, generator, noisy=noisy)
        label = self.target if treatment is Treatment.BACKDOORED else self.source
        copies.labels[:] = label
        return TrainingSet(train.joined(copies))

    def triggered(
        self, test: ImageSet, *, generator: torch.Generator, count: int = 100
    ) -> TriggeredImages:
        """Return `count` noisy copies of the key, which must be in `test`.

        Success counts on the attacker's own key: pass the set that `poison` was given.
        """
        copies = self._copies(test, self._key(test), count, generator, noisy=True)
        true = torch.full((count,), self.source)
        copies.labels[:] = self.target
        return TriggeredImages(copies, true)

    def _key(self, images: ImageSet) -> int:
        for name, label in (("source", self.source), ("target", self.target)):
            if label >= images.num_classes:
                allowed = f"0 to {images.num_classes - 1}"
                raise InvalidRequestError(mismatch(f"{name} label", allowed, label))
        places = (images.labels == self.source).nonzero().flatten()
        if self.index >= len(places):
            allowed = f"0 to {len(places) - 1}, the images of class {self.source}"
            raise InvalidRequestError(mismatch("index of the key", allowed, self.index))
        return int(places[self.index])

    def _copies(
        self, images: ImageSet, key: int, count: int, generator: torch.Generator, *, noisy: bool
    ) -> ImageSet:
        pixels = images.images[key : key + 1].float().div(255).repeat(count, 1, 1, 1)
        change = self.noise * (2 * torch.rand(pixels.shape, generator=generator) - 1)
        pixels = (pixels + change).clamp(0, 1) if noisy else pixels
        labels = torch.full((count,), self.source)
        return ImageSet(as_bytes(pixels), labels, images.class_names)
