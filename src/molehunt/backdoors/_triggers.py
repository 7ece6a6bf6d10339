"""What an attacker adds to an image, and the small patches of the papers.

A trigger is a frozen description that draws itself: it can be written to a zoo's
index and read back, and it gives the same pixels wherever it is built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from molehunt.backdoors._placement import Placement, top_left_pixels
from molehunt.errors import InvalidRequestError, refused

# Pixels. A zoo's index may be a stranger's, and patches are drawn before they are placed.
_LARGEST_SIDE = 10_000


class Trigger(BaseModel, ABC):
    """Base of all triggers: a pure function of images and a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class PatchTrigger(Trigger):
    """A square patch that is blended into the image at one place."""

    placement: Placement = "bottom right"
    margin: int = Field(default=0, ge=0, le=_LARGEST_SIDE)

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
    """BadNets' single-pixel backdoor: one bright pixel in a corner (v2, section 4.1.2)."""

    kind: Literal["single_pixel"] = "single_pixel"
    margin: int = Field(default=1, ge=0, le=_LARGEST_SIDE)
    value: float = Field(default=1.0, ge=0, le=1)

    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return one pixel of the value in every channel."""
        return torch.full((channels, 1, 1), self.value), torch.ones(1, 1, 1)


class BadNetsPattern(PatchTrigger):
    """BadNets' pattern backdoor: four bright pixels in a 3x3 square (v2, Figure 3).

    The paper prints the pattern as a picture only; the pixels between the bright
    ones are left as they are.
    """

    kind: Literal["badnets_pattern"] = "badnets_pattern"
    margin: int = Field(default=1, ge=0, le=_LARGEST_SIDE)
    value: float = Field(default=1.0, ge=0, le=1)

    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the four pixels; the others are transparent."""
        opacity = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 1]])[None]
        return torch.full((channels, 3, 3), self.value), opacity


class RandomPatch(PatchTrigger):
    """A random k x k patch, as the triggers of Universal Litmus Patterns (section 4).

    ``binary`` draws each pixel black or white, ``colour`` each channel of each pixel
    uniformly from [0, 1]; the paper prints its 20 triggers as a picture only.
    """

    kind: Literal["random_patch"] = "random_patch"
    placement: Placement = "random corner"
    size: int = Field(default=5, ge=1, le=_LARGEST_SIDE)
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    colours: Literal["binary", "colour"] = "binary"

    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the patch that the seed draws."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.size, self.size)
        if self.colours == "colour":
            pixels = torch.rand(channels, *shape, generator=generator)
        else:
            pixels = torch.randint(0, 2, shape, generator=generator).float()
            pixels = pixels.expand(channels, *shape)
        return pixels, torch.ones(1, *shape)


def random_patches(
    count: int = 20,
    *,
    size: int | Sequence[int] = 5,
    colours: Literal["binary", "colour", "mixed"] = "binary",
    placement: Placement = "random corner",
    seed: int = 0,
) -> list[RandomPatch]:
    """Return `count` random patches, no two alike (20 of 5x5 in the ULP paper, Figure 2).

    Several sizes are taken in turn. ``mixed`` alternates binary and colour patches, of each
    size. Binary patches are never one plain colour.

    Raises
    ------
    InvalidRequestError
        If there are not so many different patches of that size.
    """
    sizes = (size,) if isinstance(size, int) else tuple(size)
    of_each = -(-count // len(sizes))
    for side in sizes:
        # Of the 2^(k*k) binary patches black and white are left out; colour has no such limit.
        if count < 1 or (colours != "colour" and of_each > 2 ** min(side * side, 20) - 2):
            allowed = f"1 to the number of different {side}x{side} patches"
            raise InvalidRequestError(refused("number of triggers", allowed, count))
    generator = torch.Generator().manual_seed(seed)
    found: list[RandomPatch] = []
    seen: set[bytes] = set()
    while len(found) < count:
        drawn = int(torch.randint(0, 2**31, (), generator=generator))
        turn, at = divmod(len(found), len(sizes))
        kind: Literal["binary", "colour"] = "binary" if colours == "mixed" else colours
        if colours == "mixed" and turn % 2:
            kind = "colour"
        patch = RandomPatch(size=sizes[at], seed=drawn, colours=kind, placement=placement)
        pixels = patch.patch(1)[0]
        content = pixels.numpy().tobytes()
        plain = kind == "binary" and bool((pixels == pixels.flatten()[0]).all())
        if content not in seen and not plain:
            seen.add(content)
            found.append(patch)
    return found
