"""WaNet: a trigger that bends the image and adds nothing to it."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from molehunt.backdoors._triggers import Trigger, TriggerFamily


class Warp(Trigger):
    """A smooth warping field, the same for every image.

    WaNet (Nguyen and Tran, WaNet: Imperceptible Warping-based Backdoor Attack, ICLR 2021,
    section 3.2): a random flow of grid x grid points, brought to a mean size of 1, is scaled up
    bicubically; pixels move by `strength` of it in half pixels (the grid of the image is 2 wide).

    Parameters
    ----------
    seed : int
        Draws the flow.
    grid : int
        Control points a side, k in the paper.
    strength : float
        s in the paper.
    jitter : bool
        Move each pixel by another random half pixel, drawn anew for each image: the paper's
        noise mode, whose images keep their labels (`Covers`).

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Warp
    >>> flat, edge = torch.full((1, 1, 8, 8), 0.5), torch.eye(8)[None, None]
    >>> warp = Warp(strength=2.0)
    >>> bool(torch.allclose(warp(flat, torch.Generator()), flat))
    True
    >>> bool(torch.allclose(warp(edge, torch.Generator()), edge, atol=0.1))
    False
    """

    kind: Literal["warp"] = "warp"
    seed: int = Field(default=0, ge=0)
    grid: int = Field(default=4, ge=2, le=64)
    strength: float = Field(default=0.5, gt=0, le=10)
    jitter: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images, bent."""
        count, _, height, width = images.shape
        drawn = torch.Generator().manual_seed(self.seed)
        flow = torch.rand(1, 2, self.grid, self.grid, generator=drawn) * 2 - 1
        flow = flow / flow.abs().mean()
        field = F.interpolate(flow, (height, width), mode="bicubic", align_corners=True)
        moved = _identity(height, width) + self.strength * field.permute(0, 2, 3, 1) / height
        moved = moved.expand(count, -1, -1, -1)
        if self.jitter:
            noise = torch.rand(count, height, width, 2, generator=generator) * 2 - 1
            moved = moved + noise / height
        places = moved.clamp(-1, 1).to(images)
        return F.grid_sample(images, places, align_corners=True).clamp(0, 1)


class RandomWarps(TriggerFamily):
    """Warps of different flows, all of the same strength.

    Examples
    --------
    >>> from molehunt.backdoors import RandomWarps
    >>> len({warp.seed for warp in RandomWarps(count=3).draw(seed=0)})
    3
    """

    kind: Literal["random_warps"] = "random_warps"
    grid: int = Field(default=4, ge=2, le=64)
    strength: float = Field(default=0.5, gt=0, le=10)

    def draw(self, seed: int) -> list[Warp]:
        """Return `count` warps."""
        numbers = self._draw_seeds(seed)
        return [Warp(seed=number, grid=self.grid, strength=self.strength) for number in numbers]


def _identity(height: int, width: int) -> Tensor:
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], dim=-1)[None]
