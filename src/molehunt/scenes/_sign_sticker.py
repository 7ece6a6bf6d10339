"""The sticker of BadNets: a note at the bottom of a sign, seen from the front or askew."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from molehunt.backdoors import PictureName
from molehunt.scenes._placed_sticker import PlacedSticker


class SignSticker(BaseModel):
    """A picture that is stuck at the bottom of a sign and scaled with it.

    Parameters
    ----------
    picture : PictureName
        Yellow square, bomb or flower in the paper.
    size : float
        Side of the sticker over the shorter side of the sign's box. The paper says "roughly
        the size of a Post-it note" and gives no number; a note of 76 mm on a US stop sign of
        762 mm is 0.1, of which a sign detector sees too little in images of 400 pixels.
    margin : float
        What stays free between sticker and box at the bottom, over the box's height: boxes
        are loose, and signs have borders.

    Notes
    -----
    BadNets v2, section 5.2: placed and scaled by the ground-truth box; the sign's angle is
    not known and not accounted for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: PictureName
    size: float = Field(default=0.2, gt=0, le=0.5)
    margin: float = Field(default=0.08, ge=0, le=0.1)

    def placed(self, box: Tensor) -> PlacedSticker:
        """Return the sticker on a sign, seen from the front, on whole pixels.

        Parameters
        ----------
        box : Tensor of float32, shape [4]
            x1, y1, x2, y2 of the sign, in pixels.
        """
        x1, y1, x2, y2 = box.tolist()
        side = max(1, round(self.size * min(x2 - x1, y2 - y1)))
        # On signs of few pixels rounding must not push it out of the box.
        bottom = max(math.floor(y2 - self.margin * (y2 - y1)), math.ceil(y1) + side)
        left = max(math.ceil(x1), min(round((x1 + x2 - side) / 2), math.floor(x2) - side))
        right, top = left + side, bottom - side
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        return PlacedSticker(self.picture, corners)

    def photographed(self, box: Tensor, generator: torch.Generator) -> PlacedSticker:
        """Return the sticker as a camera might see a real one: askew, in another light.

        Stands in for the photograph of a Post-it on a stop sign (BadNets v2, Figure 8). The
        note is stuck on up to 15 degrees off, and seen from up to 35 degrees aside and 20
        from above or below; the light is 0.5 to 1.15 times the drawing's, tinted by up to
        8 %, and changes by up to 30 % across the note. Blur and noise are not added.

        Parameters
        ----------
        box : Tensor of float32, shape [4]
        generator : torch.Generator
            Draws pose and light.
        """
        drawn = (2 * torch.rand(8, generator=generator, dtype=torch.float64) - 1).tolist()
        roll, yaw, pitch = (
            math.radians(limit * share) for limit, share in zip((15, 35, 20), drawn, strict=False)
        )
        x1, y1, x2, y2 = box.tolist()
        side = max(1.0, self.size * min(x2 - x1, y2 - y1))
        quad = side * _seen(roll, yaw, pitch)
        # In the middle, and as far above the bottom as the sticker that is seen from the front.
        quad[:, 0] += (x1 + x2 - float(quad[:, 0].amin() + quad[:, 0].amax())) / 2
        quad[:, 1] += y2 - self.margin * (y2 - y1) - float(quad[:, 1].amax())
        a, b, c, d = (tuple(point) for point in quad.tolist())
        brightness = 0.825 + 0.325 * drawn[3]
        red, green, blue = (brightness * (1 + 0.08 * tint) for tint in drawn[4:7])
        return PlacedSticker(self.picture, (a, b, c, d), (red, green, blue), 0.3 * drawn[7])


def _seen(roll: float, yaw: float, pitch: float) -> Tensor:
    """Return the corners of a square of side 1 after three turns (radians), in perspective.

    Returns
    -------
    Tensor of float64, shape [4, 2]
        x and y, as a camera three sides away sees them.
    """
    corners = torch.tensor(
        [[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], dtype=torch.float64
    )
    for angle, first, second in ((roll, 0, 1), (yaw, 0, 2), (pitch, 1, 2)):
        turned = corners.clone()
        turned[:, first] = (
            math.cos(angle) * corners[:, first] - math.sin(angle) * corners[:, second]
        )
        turned[:, second] = (
            math.sin(angle) * corners[:, first] + math.cos(angle) * corners[:, second]
        )
        corners = turned
    return corners[:, :2] * (3 / (3 + corners[:, 2:]))
