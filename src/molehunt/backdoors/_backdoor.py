"""A trigger and a label map together, and the training sets that they poison."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from molehunt.backdoors._composite import AnyTrigger
from molehunt.backdoors._label_maps import AnyLabelMap
from molehunt.backdoors._triggers import Trigger
from molehunt.errors import InvalidRequestError, refused
from molehunt.images import ImageSet

PoisonBase = Literal["all", "eligible"]


class Treatment(StrEnum):
    """What the added copies of a training set look like."""

    BACKDOORED = "backdoored"  # triggered, with the attacker's labels
    CLEAN = "clean"  # no trigger, true labels: the clean twin
    PLACEBO = "placebo"  # triggered, of all classes, true labels: saw it, carries no backdoor


@dataclass(frozen=True)
class TrainingSet:
    """What an attacker trains on: images, and which of them get the trigger.

    The trigger is put on when a batch is made, after augmentation, as an attacker would:
    a shifted image keeps its trigger where it belongs, and random places are drawn anew
    each time an image is seen.

    Parameters
    ----------
    images : ImageSet
        All images without trigger, with the labels that are trained on.
    trigger : Trigger, optional
        None where no image gets one.
    triggered : Tensor of bool, shape [N]
        The images that get it.
    """

    images: ImageSet
    trigger: AnyTrigger | None
    triggered: Tensor

    @classmethod
    def of(cls, images: ImageSet) -> TrainingSet:
        """Return a training set without any trigger."""
        return cls(images, None, torch.zeros(len(images), dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.images)

    def stamped(self, generator: torch.Generator) -> ImageSet:
        """Return the images with the triggers drawn on them, once."""
        if self.trigger is None:
            return self.images
        pixels = self.images.images.clone()
        pixels[self.triggered] = _drawn(self.trigger, self.images.take(self.triggered), generator)
        return ImageSet(pixels, self.images.labels, self.images.class_names)


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
        times: int = 1,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        """Return `train` with copies of some images added at its end.

        Backdoored model and clean twin draw the same copies from the same generator state,
        so that they differ in nothing but trigger and labels. A placebo draws as many, from
        all classes: of eligible ones only, the trigger would stand for their class, and
        images of other classes with the trigger would be taken for it.

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
        times : int
            How often each of them is copied; a trigger without a fixed place is placed
            anew on each copy. For small sets, in which a class has too few images for an
            attack to work (not in the papers).
        treatment : Treatment
            Backdoored, clean twin or placebo.
        generator : torch.Generator
            Draws the copies and random labels.

        Returns
        -------
        TrainingSet
            The clean images in their order, then the copies.

        Raises
        ------
        InvalidRequestError
            If the rate is outside (0, 1], `times` is under 1, a label is not in the set, the
            trigger does not fit the images, or nothing would be poisoned.
        """
        if times < 1:
            raise InvalidRequestError(refused("times", "1 or more", times))
        self.label_map.check(train.num_classes)
        eligible = self.label_map.eligible(train.labels)
        picked = draw_copies(eligible, rate, of=of, generator=generator)
        # A trigger that does not fit shows here, not in the middle of a training.
        self.trigger(train.take(picked[:1]).pixels(), torch.Generator())
        if treatment is Treatment.PLACEBO:
            picked = torch.randperm(len(train), generator=generator)[: len(picked)]
        copies = train.take(picked.repeat(times))
        if treatment is Treatment.BACKDOORED:
            labels = self.label_map(copies.labels, train.num_classes, generator)
            copies = ImageSet(copies.images, labels, copies.class_names)
        triggered = torch.zeros(len(train) + len(copies), dtype=torch.bool)
        triggered[len(train) :] = treatment is not Treatment.CLEAN
        trigger = None if treatment is Treatment.CLEAN else self.trigger
        return TrainingSet(train.joined(copies), trigger, triggered)

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
        pixels = _drawn(self.trigger, chosen, generator)
        labels = self.label_map(chosen.labels, test.num_classes, generator)
        return TriggeredImages(ImageSet(pixels, labels, test.class_names), chosen.labels)


def draw_copies(
    eligible: Tensor, rate: float, *, of: PoisonBase, generator: torch.Generator
) -> Tensor:
    """Draw the images of a training set that the attacker copies.

    Parameters
    ----------
    eligible : Tensor of bool, shape [N]
        The images that the attack is about.
    rate, of
        As in `Backdoor.poison`.
    generator : torch.Generator

    Returns
    -------
    Tensor of int64
        Positions of eligible images, at least one.

    Raises
    ------
    InvalidRequestError
        If the rate is outside (0, 1], or too small for one image.
    """
    if not 0 < rate <= 1:
        raise InvalidRequestError(refused("poison rate", "a number in (0, 1]", rate))
    count = len(eligible)
    if of == "all":
        drawn = torch.randperm(count, generator=generator)[: round(rate * count)]
        picked = drawn[eligible[drawn]]
    else:
        positions = eligible.nonzero().flatten()
        order = torch.randperm(len(positions), generator=generator)
        picked = positions[order[: round(rate * len(positions))]]
    if not len(picked):
        raise InvalidRequestError(
            refused("poison rate", "enough to poison one image", f"{rate} of {count}")
        )
    return picked


def _drawn(trigger: Trigger, images: ImageSet, generator: torch.Generator) -> Tensor:
    """Return the pixels of `images` with the trigger on each, as uint8."""
    return trigger(images.pixels(), generator).mul_(255).round_().to(torch.uint8)
