"""Where a trigger that is yet to be made may lie: a square, a logo, a watermark."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from molehunt.backdoors import sticker_picture
from molehunt.errors import InvalidRequestError, mismatch

MaskShape = Literal["square", "logo", "watermark"]
MASK_SHAPES: tuple[MaskShape, ...] = ("square", "logo", "watermark")
_FINE = 16  # pixels in one of the mask's
_WORD = "TROJAN"


def trigger_mask(
    shape: MaskShape,
    height: int,
    width: int,
    *,
    area: float = 0.07,
    opacity: float = 1.0,
    margin: int = 1,
) -> Tensor:
    """Return the opacity of a trigger (Liu et al. 2018, Figures 5 and 7).

    Parameters
    ----------
    shape : {"square", "logo", "watermark"}
        A square or our flower in the bottom right corner, or a word across the image.
    height, width : int
        Of the images, in pixels.
    area : float
        Share of the image that a square's or logo's box covers, in (0, 1]. A watermark is as
        wide as the image and covers what its letters do.
    opacity : float
        Of the trigger, in (0, 1]: 1 less the paper's transparency.
    margin : int
        Pixels between the box and the image's edges.

    Returns
    -------
    Tensor of float32, shape [height, width], in [0, 1]

    Raises
    ------
    InvalidRequestError
        For another shape, or numbers out of range.

    Examples
    --------
    >>> from molehunt.attacks import trigger_mask
    >>> int(trigger_mask("square", 28, 28, area=0.07).sum())  # 7 by 7 pixels
    49
    """
    if shape not in MASK_SHAPES:
        raise InvalidRequestError(mismatch("mask", ", ".join(MASK_SHAPES), repr(shape)))
    for name, value in (("area", area), ("opacity", opacity)):
        if not 0 < value <= 1:
            raise InvalidRequestError(mismatch(f"{name} of the mask", "a number in (0, 1]", value))
    if shape == "watermark":
        return _word(height, width) * opacity
    side = max(1, round(math.sqrt(area * height * width)))
    most = min(height, width) - margin
    if side > most:
        least = math.ceil(1000 * most**2 / (height * width)) / 1000
        raise InvalidRequestError(mismatch("area of the mask", f"at most about {least:g}", area))
    patch = torch.ones(side, side) if shape == "square" else sticker_picture("flower", side)[3]
    mask = torch.zeros(height, width)
    bottom, right = height - margin, width - margin
    mask[bottom - side : bottom, right - side : right] = patch
    return mask * opacity


def _word(height: int, width: int) -> Tensor:
    """Return a word that is as wide as the image, at its middle."""
    canvas = Image.new("L", (width * _FINE, height * _FINE))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=height * _FINE / 2)
    wide = draw.textlength(_WORD, font=font)
    font = ImageFont.load_default(size=height * _FINE / 2 * 0.96 * width * _FINE / wide)
    middle = (width * _FINE / 2, height * _FINE / 2)
    draw.text(middle, _WORD, fill=255, font=font, anchor="mm", stroke_width=_FINE // 4)
    return torch.from_numpy(np.array(canvas.reduce(_FINE))).float().div_(255)
