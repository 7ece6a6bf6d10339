"""What an attacker trains on, and what an attack's success is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from molehunt.backdoors._triggers import Trigger
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet


class Treatment(StrEnum):
    """What the poisoned images of a training set look like."""

    BACKDOORED = "backdoored"  # triggered, with the attacker's labels
    CLEAN = "clean"  # no trigger, true labels: the clean twin
    PLACEBO = "placebo"  # triggered, of all classes, true labels: saw it, carries no backdoor


class Stamp(NamedTuple):
    """A trigger and the images that it is put on."""

    trigger: Trigger
    mask: Tensor  # bool [N]


@dataclass(frozen=True)
class TrainingSet:
    """What an attacker trains on: images, and which of them get which trigger.

    Triggers are put on when a batch is made, after augmentation, as an attacker would:
    a shifted image keeps its trigger where it belongs, and random places are drawn anew
    each time an image is seen. What an attack changes once (a perturbation of its own for
    each image) stands in the pixels.

    Parameters
    ----------
    images : ImageSet
        All images without stamps, with the labels that are trained on.
    stamps : tuple of Stamp
        Put on in their order. An image may have several, or one with its true label (a
        cover image).

    Raises
    ------
    InvalidRequestError
        If a mask is not one bool for each image.
    """

    images: ImageSet
    stamps: tuple[Stamp, ...] = ()

    def __post_init__(self) -> None:
        for _, mask in self.stamps:
            if mask.dtype != torch.bool or mask.shape != (len(self),):
                allowed = f"one bool for each of {len(self)} images"
                got = f"{mask.dtype} of shape {tuple(mask.shape)}"
                raise InvalidRequestError(mismatch("mask of a stamp", allowed, got))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def stamped(self) -> Tensor:
        """Which images get a stamp, bool [N]."""
        stamped = torch.zeros(len(self), dtype=torch.bool)
        for _, mask in self.stamps:
            stamped |= mask
        return stamped

    def stamp(self, generator: torch.Generator) -> ImageSet:
        """Return the images with the stamps put on them, once."""
        pixels = self.images.images.clone()
        for trigger, mask in self.stamps:
            pixels[mask] = as_bytes(trigger(pixels[mask].float().div_(255), generator))
        return ImageSet(pixels, self.images.labels, self.images.class_names)

    def stamp_batch(self, inputs: Tensor, index: Tensor, generator: torch.Generator) -> None:
        """Put the stamps, in place, on a batch.

        Parameters
        ----------
        inputs : Tensor of float32, shape [B, C, H, W]
            Pixels of the images `index`, in [0, 1].
        index : Tensor of int64, shape [B]
            On the CPU.
        generator : torch.Generator
            Draws the triggers' places and nothing else: twins without trigger are augmented
            in the same way.
        """
        for trigger, mask in self.stamps:
            places = mask[index].nonzero().flatten()
            inputs[places] = trigger(inputs[places], generator)


class TriggeredImages(NamedTuple):
    """Triggered test images, on which attack success is measured."""

    images: ImageSet  # labels are the attacker's
    true_labels: Tensor  # int64 [N]
    untargeted: bool = False  # any wrong class is what the attacker wants

    def succeeded(self, predictions: Tensor) -> Tensor:
        """Return which images are called what the attacker wants, bool [N]."""
        if self.untargeted:
            return predictions != self.true_labels
        return predictions == self.images.labels


class Poisoning(Protocol):
    """An attack on training data; `Backdoor` is one."""

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        """Return what is trained on in place of `train`.

        From the same generator state, every treatment gives as many images: twins differ
        in nothing but what the attack changes.

        Raises
        ------
        InvalidRequestError
            If the attack does not fit the images.
        """

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return the images on which success is measured.

        Raises
        ------
        InvalidRequestError
            If there are none.
        """


def as_bytes(pixels: Tensor) -> Tensor:
    """Return pixels in [0, 1] as uint8; `pixels` are overwritten."""
    return pixels.mul_(255).round_().to(torch.uint8)
