"""Stickers: pictures that are put on an image."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from molehunt.backdoors._drawings import PictureName, sticker_picture
from molehunt.backdoors._pictures import colours_of, read_picture
from molehunt.backdoors._triggers import PatchTrigger
from molehunt.errors import mismatch


class Sticker(PatchTrigger):
    """A picture with its transparency, scaled to a square of `size` pixels.

    Parameters
    ----------
    path : path, optional
        Of a picture file.
    picture : {"yellow square", "bomb", "flower"}, optional
        In place of `path`, one of our own: the three things that BadNets puts on
        traffic signs (v2, section 5).

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Sticker
    >>> bomb = Sticker(picture="bomb", size=12)
    >>> bomb(torch.ones(1, 3, 64, 64), torch.Generator()).shape
    torch.Size([1, 3, 64, 64])
    """

    kind: Literal["sticker"] = "sticker"
    path: Path | None = None
    picture: PictureName | None = None
    size: int = Field(default=5, ge=1, le=10_000)
    opacity: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _has_one_picture(self) -> Self:
        if (self.path is None) == (self.picture is None):
            got = "neither" if self.path is None else f"{self.path} and {self.picture!r}"
            raise ValueError(mismatch("sticker", "either path or picture", got))
        return self

    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the picture (grey when the images have one channel) and its opacity.

        Raises
        ------
        UnreadableFileError
            If the file is not a picture.
        InvalidRequestError
            If the channels are neither 1 nor 3.
        """
        if self.picture is not None:
            pixels = sticker_picture(self.picture, self.size)
        else:
            assert self.path is not None  # one of the two is given
            pixels = read_picture(self.path, self.size, self.size)
        return colours_of(pixels, channels), pixels[3:] * self.opacity
