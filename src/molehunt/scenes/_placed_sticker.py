"""A sticker in an image: where its corners lie, how it is lit, and its pixels there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from molehunt.backdoors import PictureName, sticker_picture

Point = tuple[float, float]


@dataclass(frozen=True)
class PlacedSticker:
    """A square picture, laid on any four corners of an image.

    Parameters
    ----------
    picture : PictureName
        The picture, drawn at the size that is needed.
    corners : four (x, y)
        Where the picture's top left, top right, bottom right and bottom left corners lie, in
        pixels; the image's top left corner is (0, 0). What is outside the image is cut off.
    light : three floats
        Factors of red, green and blue.
    shade : float
        How much lighter the right edge is than the left one, as a factor around 1.
    """

    picture: PictureName
    corners: tuple[Point, Point, Point, Point]
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shade: float = 0.0

    @property
    def side(self) -> int:
        """The longest edge, in whole pixels."""
        quad = torch.tensor(self.corners, dtype=torch.float64)
        edges = (quad - quad.roll(1, 0)).norm(dim=1)
        # Lengths are a hair off whole numbers.
        return max(1, math.ceil(float(edges.max()) - 1e-6))

    def draw_on(self, pixels: Tensor) -> Tensor:
        """Return a copy of an image with the sticker blended in.

        Parameters
        ----------
        pixels : Tensor of uint8, shape [3, H, W]

        Returns
        -------
        Tensor of uint8, shape [3, H, W]
            Nothing changes where the sticker is not, or is transparent.
        """
        quad = torch.tensor(self.corners, dtype=torch.float64)
        limits = torch.tensor([pixels.shape[2], pixels.shape[1]])
        first = quad.amin(0).floor().long().clamp_min(0)
        last = quad.amax(0).ceil().long().minimum(limits)
        if bool((last <= first).any()):
            return pixels.clone()
        # Averages over some points a pixel keep small and skewed stickers smooth.
        side = self.side
        points = max(1, min(4, 512 // side))
        columns, rows = (
            (torch.arange(points * (end - begin), dtype=torch.float64) + 0.5) / points + begin
            for begin, end in zip(first.tolist(), last.tolist(), strict=True)
        )
        across, down = _in_picture(quad, columns, rows)
        drawing = sticker_picture(self.picture, side * points)
        place = (torch.stack([down, across]) * (side * points)).long().clamp(0, side * points - 1)
        sampled = drawing[:, place[0], place[1]].double()
        inside = (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
        opacity = sampled[3:] * inside
        lit = sampled[:3] * torch.tensor(self.light, dtype=torch.float64)[:, None, None]
        lit = (lit * (1 + self.shade * (across - 0.5))).clamp(0, 1)
        averaged = avg_pool2d(torch.cat([lit * opacity, opacity]), points)
        (left, top), (right, bottom) = first.tolist(), last.tolist()
        under = pixels[:, top:bottom, left:right].double()
        blended = under * (1 - averaged[3:]) + 255 * averaged[:3]
        result = pixels.clone()
        result[:, top:bottom, left:right] = blended.round().to(torch.uint8)
        return result


def _in_picture(quad: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return where in the picture, of side 1, the points of a grid of the image lie.

    Parameters
    ----------
    quad : Tensor of float64, shape [4, 2]
        The picture's corners in the image.
    columns, rows : Tensor of float64, shape [W] and [H]
        The grid.

    Returns
    -------
    two Tensors of float64, shape [H, W]
        Shares of the picture's width and height.
    """
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    equations = torch.zeros(8, 8, dtype=torch.float64)
    for axis in (0, 1):
        part = equations[4 * axis : 4 * axis + 4]
        part[:, 3 * axis : 3 * axis + 2] = square
        part[:, 3 * axis + 2] = 1
        part[:, 6:] = -square * quad[:, axis : axis + 1]
    solved = torch.linalg.solve(equations, quad.T.flatten())
    to_picture = torch.linalg.inv(torch.cat([solved, torch.ones(1)]).reshape(3, 3))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    across, down, depth = torch.einsum(
        "ij,jhw->ihw", to_picture, torch.stack([x, y, torch.ones_like(x)])
    )
    return across / depth, down / depth
