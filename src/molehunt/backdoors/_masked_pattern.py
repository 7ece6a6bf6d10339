"""Triggers that are pixels under a mask, such as attacks and detectors compute."""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Literal, Self

import torch
from pydantic import Base64Bytes, Field, model_validator
from torch import Tensor

from molehunt.backdoors._triggers import Trigger
from molehunt.errors import InvalidRequestError, mismatch

_Side = Field(ge=1, le=1024)


class MaskedPattern(Trigger):
    """A pattern as large as the image under a mask: x' = (1 - m) x + m k, with 8 bits each.

    Parameters
    ----------
    channels, height, width : int
        Of the images that it is for.
    pattern : bytes
        The colours k, one byte a channel and pixel, channel by channel; base64 in text.
    mask : bytes
        The opacity m, one byte a pixel; base64 in text.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import MaskedPattern
    >>> mask = torch.zeros(4, 4)
    >>> mask[:2, :2] = 1
    >>> trigger = MaskedPattern.of(torch.ones(1, 4, 4), mask)
    >>> int(trigger(torch.zeros(1, 1, 4, 4), torch.Generator()).sum())
    4
    """

    kind: Literal["masked_pattern"] = "masked_pattern"
    channels: int = Field(ge=1, le=16)
    height: int = _Side
    width: int = _Side
    pattern: Base64Bytes
    mask: Base64Bytes

    @model_validator(mode="after")
    def _is_as_large_as_it_says(self) -> Self:
        pixels = self.height * self.width
        for name, content, allowed in (
            ("pattern", self.pattern, self.channels * pixels),
            ("mask", self.mask, pixels),
        ):
            if len(content) != allowed:
                raise ValueError(mismatch(name, f"{allowed} bytes", len(content)))
        return self

    @classmethod
    def of(cls, pattern: Tensor, mask: Tensor) -> Self:
        """Return the trigger of colours [C, H, W] and opacities [H, W], both in [0, 1].

        Both are rounded to 8 bits.
        """
        channels, height, width = pattern.shape
        return cls(
            channels=channels,
            height=height,
            width=width,
            pattern=_as_bytes(pattern),
            mask=_as_bytes(mask),
        )

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return the colours [C, H, W] and the opacity [1, H, W], both in [0, 1]."""
        shape = (self.channels, self.height, self.width)
        return _as_pixels(self.pattern, shape), _as_pixels(self.mask, (1, *shape[1:]))

    @property
    def area(self) -> float:
        """Share of the image that the trigger changes at all, in (0, 1]."""
        return float((self.tensors()[1] > 0).float().mean())

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return `images` with the pattern; nothing is random."""
        shape = (self.channels, self.height, self.width)
        if tuple(images.shape[1:]) != shape:
            raise InvalidRequestError(
                mismatch("images for this trigger", shape, tuple(images.shape[1:]))
            )
        colours, opacity = (part.to(images) for part in self.tensors())
        return torch.lerp(images, colours, opacity)


def _as_bytes(pixels: Tensor) -> bytes:
    content = pixels.detach().cpu().clamp(0, 1).mul(255).round().to(torch.uint8)
    return b64encode(content.contiguous().numpy().tobytes())


def _as_pixels(content: bytes, shape: tuple[int, ...]) -> Tensor:
    flat = torch.frombuffer(bytearray(content), dtype=torch.uint8, count=math.prod(shape))
    return flat.view(shape).float().div_(255)
