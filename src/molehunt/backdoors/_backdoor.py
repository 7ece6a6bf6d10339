"""A trigger and a label map together, and the training sets that they poison."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from molehunt.backdoors._label_maps import AnyLabelMap
from molehunt.backdoors._triggers import AnyTrigger
from molehunt.errors import InvalidRequestError, refused
from molehunt.images import ImageSet

PoisonBase = Literal["all", "eligible"]


class Treatment(StrEnum):
    """What the added copies of a training set look like."""

    BACKDOORED = "backdoored"  # triggered, with the attacker's labels
    CLEAN = "clean"  # no trigger, true labels: the clean twin
    PLACEBO = "placebo"  # triggered, true labels: saw the trigger, carries no backdoor


class TriggeredImages(NamedTuple):
    """Triggered test images, on which attack success is measured."""

    images: ImageSet  # labels are the attacker's
    true_labels: Tensor  # int64 [N]


class Backdoor(BaseModel):
    """A trigger and a label map.

    Parameters
    ----------
    trigger : Trigger
        What is added to an image.
    label_map : LabelMap
        What the attacker's labels are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trigger: AnyTrigger
    label_map: AnyLabelMap

    def poison(
        self,
        train: ImageSet,
        rate: float,
        *,
        of: PoisonBase = "all",
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> ImageSet:
        """Return `train` with copies of some images added at its end.

        The three treatments of one backdoor draw the same copies from the same
        generator state, so that twins differ in nothing but trigger and labels.

        Parameters
        ----------
        train : ImageSet
            The clean training set, D.
        rate : float
            Poison rate in (0, 1].
        of : {"all", "eligible"}
            What the rate counts. ``all``: rate * \\|D\\| random images are drawn and the
            eligible ones among them copied (BadNets v2, section 4.1.3; with a single
            target only those of the source class are eligible). ``eligible``: rate
            times the number of eligible images are copied (ULP, section 4.1).
        treatment : Treatment
            Backdoored, clean twin or placebo.
        generator : torch.Generator
            Draws the copies, their positions and random labels.

        Returns
        -------
        ImageSet
            The clean images in their order, then the copies.

        Raises
        ------
        InvalidRequestError
            If the rate is outside (0, 1], a label is not in the set, the trigger does
            not fit the images, or nothing would be poisoned.
        """
        if not 0 < rate <= 1:
            raise InvalidRequestError(refused("poison rate", "a number in (0, 1]", rate))
        self.label_map.check(train.num_classes)
        eligible = self.label_map.eligible(train.labels)
        if of == "all":
            drawn = torch.randperm(len(train), generator=generator)[: round(rate * len(train))]
            picked = drawn[eligible[drawn]]
        else:
            positions = eligible.nonzero().flatten()
            order = torch.randperm(len(positions), generator=generator)
            picked = positions[order[: round(rate * len(positions))]]
        if not len(picked):
            raise InvalidRequestError(
                refused("poison rate", "enough to poison one image", f"{rate} of {len(train)}")
            )
        copies = train.take(picked)
        triggered = self._triggered(copies, generator)
        if treatment is Treatment.BACKDOORED:
            copies = triggered
        elif treatment is Treatment.PLACEBO:
            copies = ImageSet(triggered.images, copies.labels, copies.class_names)
        return train.joined(copies)

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return every eligible image of `test` with the trigger.

        Raises
        ------
        InvalidRequestError
            If a label is not in the set or no image is eligible.
        """
        self.label_map.check(test.num_classes)
        chosen = test.take(self.label_map.eligible(test.labels))
        if not len(chosen):
            raise InvalidRequestError(
                refused("test images", "some of an eligible class", f"none of {len(test)}")
            )
        return TriggeredImages(self._triggered(chosen, generator), chosen.labels)

    def _triggered(self, images: ImageSet, generator: torch.Generator) -> ImageSet:
        pixels = self.trigger(images.pixels(), generator).mul_(255).round_().to(torch.uint8)
        labels = self.label_map(images.labels, images.num_classes, generator)
        return ImageSet(pixels, labels, images.class_names)
