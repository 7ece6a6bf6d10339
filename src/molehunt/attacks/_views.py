"""How a thing may be seen: angle, distance, place and light, drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.errors import InvalidRequestError, mismatch


@dataclass(frozen=True)
class Seen:
    """Drawn views, one an image: see `Views.draw`.

    Parameters
    ----------
    homography : Tensor of float32, shape [N, 3, 3]
        From places in the view to places in the image, both in [-1, 1].
    gain, offset : Tensor of float32, shape [N, 1, 1, 1]
        Of the pixels.
    """

    homography: Tensor
    gain: Tensor
    offset: Tensor

    def warp(self, images: Tensor, *, padding: str = "border") -> Tensor:
        """Return images [N, C, H, W] from these angles; light stays as it is."""
        height, width = images.shape[2:]
        rows = (torch.arange(height) * 2 + 1) / height - 1
        columns = (torch.arange(width) * 2 + 1) / width - 1
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        places = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
        x, y, depth = (self.homography @ places).unbind(1)
        grid = torch.stack([x / depth, y / depth], dim=2).view(-1, height, width, 2)
        return functional.grid_sample(
            images, grid.to(images.device), padding_mode=padding, align_corners=False
        )

    def light(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W] in this light, in [0, 1]."""
        return (images * self.gain.to(images.device) + self.offset.to(images.device)).clamp(0, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W] in [0, 1] from these angles and in this light."""
        return self.light(self.warp(images))


@dataclass(frozen=True)
class Views:
    """What is drawn, uniformly up to these values each way.

    Parameters
    ----------
    angle : float
        Degrees of a turn in the plane of the image.
    tilt : float
        How much nearer or farther one side is than the middle, as a share of the distance.
    scale : float
        Share by which a thing is larger or smaller.
    shift : float
        Share of the image's sides by which it is moved.
    gain, offset : float
        Of the light: pixels are multiplied by 1 up to this, and this is added.

    Raises
    ------
    InvalidRequestError
        If a value is outside its range.

    Examples
    --------
    >>> views = Views(angle=20, tilt=0.1, gain=0.3)
    >>> views(torch.rand(4, 3, 32, 32), torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 32, 32])
    """

    angle: float = 0.0
    tilt: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    gain: float = 0.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            most = 180 if field.name == "angle" else 0.5
            value = getattr(self, field.name)
            if not 0 <= value <= most:
                raise InvalidRequestError(mismatch(f"{field.name} of views", f"0 to {most}", value))

    def draw(self, count: int, generator: torch.Generator) -> Seen:
        """Draw a view for each of `count` images."""

        def up_to(most: float) -> Tensor:
            return (2 * torch.rand(count, generator=generator) - 1) * most

        turn, size = up_to(math.radians(self.angle)), 1 / (1 + up_to(self.scale))
        matrix = torch.zeros(count, 3, 3)
        matrix[:, 0, 0] = matrix[:, 1, 1] = turn.cos() * size
        matrix[:, 0, 1] = -turn.sin() * size
        matrix[:, 1, 0] = turn.sin() * size
        matrix[:, 0, 2], matrix[:, 1, 2] = up_to(2 * self.shift), up_to(2 * self.shift)
        matrix[:, 2, 0], matrix[:, 2, 1] = up_to(self.tilt), up_to(self.tilt)
        matrix[:, 2, 2] = 1
        light = (1 + up_to(self.gain), up_to(self.offset))
        return Seen(matrix, *(part.view(-1, 1, 1, 1) for part in light))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return images [N, C, H, W] in [0, 1], each in a view of its own."""
        return self.draw(len(images), generator)(images)
