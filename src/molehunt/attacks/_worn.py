"""Patterns that are worn as they are: one for many images, and random colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from molehunt.attacks._evasion import Norm
from molehunt.attacks._masks import check_mask
from molehunt.attacks._printing import check_palette
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Queried, Reveals


@dataclass(frozen=True)
class Worn:
    """Put a pattern on every image that was made before: see `Masked.learn`.

    Parameters
    ----------
    mask : Tensor of bool, shape [H, W]
    pattern : Tensor of float32, shape [C, H, W], in [0, 1]
    """

    mask: Tensor
    pattern: Tensor
    name: ClassVar[str] = "worn"
    needs: ClassVar[Reveals] = Reveals.LABELS
    norm: ClassVar[Norm | None] = None
    epsilon: ClassVar[float | None] = None

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the images with the pattern on; nothing is asked."""
        check_mask(self.mask, target.input_shape)
        if self.pattern.shape != target.input_shape:
            allowed, got = f"shape {target.input_shape}", tuple(self.pattern.shape)
            raise InvalidRequestError(mismatch("pattern", allowed, got))
        return torch.where(self.mask, self.pattern, images)


@dataclass(frozen=True)
class RandomColours:
    """Fill a mask with colours at random: what an attack inside it is compared with.

    Parameters
    ----------
    mask : Tensor of bool, shape [H, W]
    cell : int
        Pixels along a side that have one colour; the image's size makes it solid.
    palette : Tensor of float32, shape [P, C], optional
        Colours to draw from; all when not given.
    """

    mask: Tensor
    cell: int = 1
    palette: Tensor | None = None
    name: ClassVar[str] = "random colours"
    needs: ClassVar[Reveals] = Reveals.LABELS
    norm: ClassVar[Norm | None] = None
    epsilon: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        if self.cell < 1:
            raise InvalidRequestError(mismatch("cell", "1 pixel or more", self.cell))

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the images, each with colours of its own; nothing is asked."""
        check_mask(self.mask, target.input_shape)
        channels, height, width = target.input_shape
        rows, columns = -(-height // self.cell), -(-width // self.cell)
        colours = torch.rand(len(images), channels, rows, columns, generator=generator)
        pattern = in_cells(colours, self.cell, height, width)
        if self.palette is not None:
            check_palette(self.palette, channels)
            drawn = torch.randint(
                len(self.palette), (len(images), rows, columns), generator=generator
            )
            pattern = in_cells(self.palette[drawn].movedim(-1, 1), self.cell, height, width)
        return torch.where(self.mask, pattern, images)


def in_cells(colours: Tensor, cell: int, height: int, width: int) -> Tensor:
    """Return colours [N, C, R, S] as a pattern [N, C, height, width], each a square of `cell`."""
    larger = colours.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    return larger[..., :height, :width]
