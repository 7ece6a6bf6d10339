"""What an attacker adds to an image, and BadNets' two small patches.

A trigger is a frozen description that draws itself: it can be written to a zoo's
index and read back, and it gives the same pixels wherever it is built.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor

from molehunt.backdoors._kinds import Described, by_kind
from molehunt.backdoors._placement import Placement, top_left_pixels

# Pixels. A zoo's index may be a stranger's, and patches are drawn before they are placed.
LARGEST_SIDE = 10_000
_MOST_TRIGGERS = 10_000


class Trigger(Described, ABC):
    """Base of all triggers: a pure function of images and a generator."""

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return `images` with the trigger on each.

        Parameters
        ----------
        images : Tensor of float32, shape [N, C, H, W]
            Pixels in [0, 1]; left as they are.
        generator : torch.Generator
            Draws the positions, where they are random.

        Returns
        -------
        Tensor of float32, shape [N, C, H, W]

        Raises
        ------
        InvalidRequestError
            If the trigger does not fit the images.
        """


class TriggerFamily(Described, ABC):
    """Base of families: a plan draws `count` different triggers from one.

    A zoo deals them to its splits, each trigger to one split only.
    """

    count: int = Field(default=20, ge=1, le=_MOST_TRIGGERS)

    @abstractmethod
    def draw(self, seed: int) -> Sequence[Trigger]:
        """Return `count` different triggers.

        Raises
        ------
        InvalidRequestError
            If there are not so many.
        """

    def _draw_seeds(self, seed: int) -> list[int]:
        """Return `count` different seeds, for triggers that differ in theirs alone."""
        return random.Random(seed).sample(range(2**31), self.count)


AnyTrigger = Annotated[SerializeAsAny[Trigger], by_kind(Trigger)]
PlannedTrigger = Annotated[SerializeAsAny[Trigger | TriggerFamily], by_kind(Trigger, TriggerFamily)]


class PatchTrigger(Trigger):
    """A square patch that is blended into the image at one place."""

    placement: Placement = "bottom right"
    margin: int = Field(default=0, ge=0, le=LARGEST_SIDE)

    @abstractmethod
    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the colours [C, k, k] and the opacity [1, k, k], both in [0, 1]."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return `images` with the patch blended in."""
        colours, opacity = (part.to(images.device) for part in self.patch(images.shape[1]))
        size = colours.shape[-1]
        height, width = images.shape[2:]
        corner = top_left_pixels(
            self.placement,
            len(images),
            image=(height, width),
            patch=size,
            margin=self.margin,
            generator=generator,
        ).to(images.device)
        offsets = torch.arange(size, device=images.device)
        index = torch.arange(len(images), device=images.device)[:, None, None]
        rows = (corner[:, :1] + offsets)[:, :, None]
        columns = (corner[:, 1:] + offsets)[:, None, :]
        result = images.clone()
        # Indexing around the channel dimension puts it last: [N, k, k, C].
        under = result[index, :, rows, columns]
        over, alpha = colours.permute(1, 2, 0), opacity.permute(1, 2, 0)
        result[index, :, rows, columns] = under * (1 - alpha) + over * alpha
        return result


class SinglePixel(PatchTrigger):
    """BadNets' single-pixel backdoor: one bright pixel in a corner (v2, section 4.1.2).

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import SinglePixel
    >>> black = torch.zeros(1, 1, 28, 28)
    >>> SinglePixel(placement="bottom right")(black, torch.Generator()).nonzero().tolist()
    [[0, 0, 26, 26]]
    """

    kind: Literal["single_pixel"] = "single_pixel"
    margin: int = Field(default=1, ge=0, le=LARGEST_SIDE)
    value: float = Field(default=1.0, ge=0, le=1)

    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return one pixel of the value in every channel."""
        return torch.full((channels, 1, 1), self.value), torch.ones(1, 1, 1)


class BadNetsPattern(PatchTrigger):
    """BadNets' pattern backdoor: four bright pixels in a 3x3 square (v2, Figure 3).

    The paper prints the pattern as a picture only; the pixels between the bright
    ones are left as they are.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import BadNetsPattern
    >>> black = torch.zeros(1, 1, 28, 28)
    >>> BadNetsPattern()(black, torch.Generator())[0, 0, 24:27, 24:27].int().tolist()
    [[0, 0, 1], [0, 1, 0], [1, 0, 1]]
    """

    kind: Literal["badnets_pattern"] = "badnets_pattern"
    margin: int = Field(default=1, ge=0, le=LARGEST_SIDE)
    value: float = Field(default=1.0, ge=0, le=1)

    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the four pixels; the others are transparent."""
        opacity = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 1]])[None]
        return torch.full((channels, 3, 3), self.value), opacity
