"""Pictures for stickers, drawn from shapes at any size.

BadNets puts a yellow square, a bomb and a flower on traffic signs (v2, section 5) and
prints them as photographs; these are drawings of the same three things.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch

PictureName = Literal["yellow square", "bomb", "flower"]
Point = tuple[float, float]

_FINE = 512  # pixels that a drawing has at least before it is scaled down


def sticker_picture(name: PictureName, size: int) -> Tensor:
    """Return one of our own pictures, with smooth edges.

    Parameters
    ----------
    name : {"yellow square", "bomb", "flower"}
    size : int
        Height and width in pixels, at least 1.

    Returns
    -------
    Tensor of float32, shape [4, size, size]
        Red, green, blue and opacity in [0, 1].

    Raises
    ------
    InvalidRequestError
        If there is no such picture or no such size.
    """
    if name not in get_args(PictureName):
        raise InvalidRequestError(mismatch("picture", ", ".join(get_args(PictureName)), repr(name)))
    if size < 1:
        raise InvalidRequestError(mismatch("picture size", "at least 1 pixel", size))
    return _draw(name, size).clone()


@lru_cache(maxsize=16)
def _draw(name: PictureName, size: int) -> Tensor:
    factor = max(4, math.ceil(_FINE / size))
    canvas = Image.new("RGBA", (size * factor, size * factor))
    _DRAWINGS[name](_Pen(canvas))
    return as_tensor(canvas.reduce(factor))


def as_tensor(picture: Image.Image) -> Tensor:
    """Return an RGBA picture as float32 of shape [4, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


class _Pen:
    """Draws on a square picture; points and lengths are shares of its side."""

    def __init__(self, canvas: Image.Image) -> None:
        self.side = canvas.width
        self.draw = ImageDraw.Draw(canvas)

    def polygon(self, points: Sequence[Point], colour: str) -> None:
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=colour)

    def ellipse(
        self, centre: Point, along: float, across: float, angle: float, colour: str
    ) -> None:
        """Fill an ellipse of radii `along` and `across` the direction `angle` (radians)."""
        turned = []
        for step in range(120):
            turn = 2 * math.pi * step / 120
            x, y = along * math.cos(turn), across * math.sin(turn)
            turned.append(
                (
                    centre[0] + x * math.cos(angle) - y * math.sin(angle),
                    centre[1] + x * math.sin(angle) + y * math.cos(angle),
                )
            )
        self.polygon(turned, colour)

    def disc(self, centre: Point, radius: float, colour: str) -> None:
        self.ellipse(centre, radius, radius, 0, colour)

    def star(self, centre: Point, radius: float, colour: str) -> None:
        """Fill a star of eight rays, half as deep as they are long."""
        reach = (radius, radius / 2) * 8
        rays = [_towards(centre, far, math.pi * at / 8) for at, far in enumerate(reach)]
        self.polygon(rays, colour)

    def curve(self, start: Point, bend: Point, end: Point, radius: float, colour: str) -> None:
        """Draw a quadratic Bézier curve that is twice `radius` wide."""
        for t in np.linspace(0, 1, 60):
            first, second, third = (1 - t) ** 2, 2 * t * (1 - t), t**2
            x, y = (
                first * a + second * b + third * c for a, b, c in zip(start, bend, end, strict=True)
            )
            self.disc((x, y), radius, colour)


def _towards(centre: Point, distance: float, angle: float) -> Point:
    return centre[0] + distance * math.cos(angle), centre[1] + distance * math.sin(angle)


def _yellow_square(pen: _Pen) -> None:
    for margin, colour in ((0.0, "#e0bb24"), (0.04, "#ffdc32")):
        low, high = margin, 1 - margin
        pen.polygon([(low, low), (high, low), (high, high), (low, high)], colour)


def _bomb(pen: _Pen) -> None:
    body, up = (0.4, 0.64), -math.pi / 4
    fuse, bend, spark = _towards(body, 0.38, up), (0.68, 0.13), (0.85, 0.18)
    pen.curve(fuse, bend, spark, 0.03, "#8a5a2b")
    pen.disc(body, 0.34, "#17171c")
    pen.ellipse(_towards(body, 0.34, up), 0.07, 0.11, up, "#17171c")
    pen.ellipse((0.29, 0.51), 0.1, 0.045, up, "#f2f2f7")
    pen.star(spark, 0.14, "#ff6a00")
    pen.star(spark, 0.08, "#ffe14d")


def _flower(pen: _Pen) -> None:
    middle = (0.5, 0.5)
    for grow, colour in ((0.022, "#b3125f"), (0.0, "#f0509c")):
        for petal in range(6):
            angle = math.pi * (petal / 3 - 0.5)
            pen.ellipse(_towards(middle, 0.29, angle), 0.18 + grow, 0.14 + grow, angle, colour)
    pen.disc(middle, 0.16, "#c98500")
    pen.disc(middle, 0.135, "#ffd21f")


_DRAWINGS: dict[PictureName, Callable[[_Pen], None]] = {
    "yellow square": _yellow_square,
    "bomb": _bomb,
    "flower": _flower,
}
