"""Surfaces that an attack may paint: eyeglass frames, a sticker, a mask from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from molehunt.errors import InvalidRequestError, UnreadableFileError, mismatch, reason_of
from molehunt.files import open_regular
from molehunt.images import FORMATS

_FINE = 8  # times the size at which shapes are drawn before they are scaled down


def draw_eyeglasses(
    height: int,
    width: int,
    *,
    row: float = 0.45,
    apart: float = 0.36,
    lens: tuple[float, float] = (0.15, 0.11),
    rim: float = 0.035,
) -> Tensor:
    """Draw eyeglass frames: two rims, a bridge and temples out to the sides.

    All lengths are shares of the image's height or width.

    Parameters
    ----------
    height, width : int
        Of the images, in pixels.
    row : float
        Where the eyes are, from above.
    apart : float
        Between the middles of the lenses.
    lens : (float, float)
        Half the width and half the height of a lens with its rim.
    rim : float
        How thick the frame is.

    Returns
    -------
    Tensor of bool, shape [height, width]

    Raises
    ------
    InvalidRequestError
        If nothing of the frames is left, or they cover the whole image.

    Examples
    --------
    >>> glasses = draw_eyeglasses(64, 64)
    >>> glasses.shape, round(float(glasses.float().mean()), 3)
    (torch.Size([64, 64]), 0.07)
    """
    canvas = Image.new("L", (width * _FINE, height * _FINE))
    pen = ImageDraw.Draw(canvas)

    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        return [
            left * canvas.width,
            top * canvas.height,
            right * canvas.width,
            bottom * canvas.height,
        ]

    wide, tall = lens
    middles = (0.5 - apart / 2, 0.5 + apart / 2)
    temple = row - tall / 3  # temples and bridge meet the rims above the eyes
    for left, right in (
        (0, middles[0] - wide + rim / 2),
        (middles[0] + wide - rim / 2, middles[1] - wide + rim / 2),
        (middles[1] + wide - rim / 2, 1),
    ):
        pen.rectangle(box(left, temple - rim / 2, max(left, right), temple + rim / 2), fill=255)
    for middle in middles:
        outer = box(middle - wide, row - tall, middle + wide, row + tall)
        inner = box(middle - wide + rim, row - tall + rim, middle + wide - rim, row + tall - rim)
        pen.ellipse(outer, fill=255)
        if inner[0] < inner[2] and inner[1] < inner[3]:
            pen.ellipse(inner, fill=0)
    return _checked(_covered(canvas), "eyeglasses")


def draw_sticker(
    height: int,
    width: int,
    *,
    shape: str = "rectangle",
    centre: tuple[float, float] = (0.5, 0.5),
    size: tuple[float, float] = (0.3, 0.3),
) -> Tensor:
    """Draw a sticker.

    Parameters
    ----------
    height, width : int
        Of the images, in pixels.
    shape : {"rectangle", "ellipse"}
    centre : (float, float)
        Row and column of its middle, as shares of the image.
    size : (float, float)
        Its height and width, as shares of the image.

    Returns
    -------
    Tensor of bool, shape [height, width]

    Raises
    ------
    InvalidRequestError
        For another shape, or if nothing of the sticker is in the image, or it covers all.

    Examples
    --------
    >>> int(draw_sticker(32, 32, size=(0.25, 0.5)).sum())
    128
    """
    if shape not in ("rectangle", "ellipse"):
        raise InvalidRequestError(mismatch("sticker shape", "rectangle or ellipse", repr(shape)))
    canvas = Image.new("L", (width * _FINE, height * _FINE))
    (row, column), (tall, wide) = centre, size
    corners = [
        (column - wide / 2) * canvas.width,
        (row - tall / 2) * canvas.height,
        (column + wide / 2) * canvas.width - 1,
        (row + tall / 2) * canvas.height - 1,
    ]
    if corners[0] < corners[2] and corners[1] < corners[3]:
        pen = ImageDraw.Draw(canvas)
        draw = pen.rectangle if shape == "rectangle" else pen.ellipse
        draw(corners, fill=255)
    return _checked(_covered(canvas), "sticker")


def read_mask(path: Path, height: int, width: int) -> Tensor:
    """Read a mask from an image file: what is bright, and not transparent, may be painted.

    Parameters
    ----------
    path : Path
    height, width : int
        Of the images; the file must have that size, so that no edge is guessed.

    Returns
    -------
    Tensor of bool, shape [height, width]

    Raises
    ------
    UnreadableFileError
        If the file is not an image.
    InvalidRequestError
        If it has another size, or masks nothing or everything.
    """
    try:
        with open_regular(path) as stream, Image.open(stream, formats=FORMATS) as image:
            size = image.size
            if size == (width, height):
                picture = image.convert("RGBA")
    except UnreadableFileError:
        raise
    except Exception as error:  # Pillow raises what it likes on what strangers wrote
        raise UnreadableFileError(f"{path}: not a readable image: {reason_of(error)}") from error
    if size != (width, height):
        allowed = f"{width}x{height} pixels, as the images have"
        raise InvalidRequestError(mismatch(f"mask {path}", allowed, f"{size[0]}x{size[1]}"))
    bright = np.asarray(picture.convert("L")) >= 128
    opaque = np.asarray(picture)[..., 3] >= 128
    return _checked(torch.from_numpy(bright & opaque), f"mask {path}")


def check_mask(mask: Tensor, input_shape: tuple[int, int, int]) -> None:
    """Refuse a mask that does not fit images of shape (channels, height, width).

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> check_mask(draw_sticker(32, 32), (3, 32, 32))
    """
    if mask.dtype != torch.bool or mask.shape != input_shape[1:]:
        allowed = f"bool of shape [{input_shape[1]}, {input_shape[2]}], as the images have"
        raise InvalidRequestError(
            mismatch("mask", allowed, f"{mask.dtype} of shape {list(mask.shape)}")
        )
    _checked(mask, "mask")


def _covered(canvas: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(canvas.reduce(_FINE)) >= 128)


def _checked(mask: Tensor, what: str) -> Tensor:
    covered = int(mask.sum())
    if not 0 < covered < mask.numel():
        allowed = f"some of {mask.numel()} pixels and not all"
        raise InvalidRequestError(mismatch(what, allowed, f"{covered} pixels"))
    return mask
