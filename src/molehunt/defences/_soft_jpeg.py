"""JPEG with soft rounding, through which gradients pass."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

_TO_LUMA = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
_FROM_LUMA = torch.linalg.inv(_TO_LUMA)
_FREQUENCIES = torch.arange(8.0)
_COSINES = 0.5 * torch.cos(_FREQUENCIES[:, None] * (2 * _FREQUENCIES + 1) * torch.pi / 16)
_COSINES[0] *= 0.5**0.5


def soft_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Return about what JPEG makes of pixels [N, 1 or 3, H, W] in [0, 1]; gradients flow.

    After Shin and Song (2017): colours at half the size, cosine transforms of blocks of 8x8,
    coefficients in steps of the quality's table; only the rounding differs, r + (x - r)^3 for
    the integer r next to x.

    Examples
    --------
    >>> grey = torch.linspace(0, 1, 256).view(1, 1, 16, 16)
    >>> bool((soft_jpeg(grey, 90) - grey).abs().mean() < 0.02)
    True
    """
    height, width = pixels.shape[2:]
    padded = functional.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate")
    luma, chroma = (table.to(pixels.device) for table in _tables(quality))
    if pixels.shape[1] == 1:
        return (_in_steps(padded - 0.5, luma) + 0.5)[..., :height, :width]
    parts = torch.einsum("ij,njhw->nihw", _TO_LUMA.to(pixels.device), padded)
    brightness = _in_steps(parts[:, :1] - 0.5, luma) + 0.5
    colours = _in_steps(functional.avg_pool2d(parts[:, 1:], 2), chroma)
    parts = torch.cat([brightness, functional.interpolate(colours, scale_factor=2)], 1)
    image = torch.einsum("ij,njhw->nihw", _FROM_LUMA.to(pixels.device), parts)
    return image[..., :height, :width]


def _in_steps(parts: Tensor, table: Tensor) -> Tensor:
    """Return parts [N, C, H, W] whose coefficients are softly rounded to steps of the table."""
    count, channels, height, width = parts.shape
    cosines = _COSINES.to(parts.device)
    blocks = parts.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = cosines @ blocks @ cosines.T / table
    nearest = steps.round().detach()
    steps = nearest + (steps - nearest) ** 3
    blocks = cosines.T @ (steps * table) @ cosines
    return blocks.transpose(3, 4).reshape(parts.shape)


@lru_cache
def _tables(quality: int) -> tuple[Tensor, Tensor]:
    """Return the steps of brightness and of colours at a quality, for pixels in [0, 1]."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "JPEG", quality=quality)
    found = Image.open(stream).quantization  # type: ignore[attr-defined]
    luma, chroma = (torch.tensor(found[number]).view(8, 8) / 255 for number in (0, 1))
    return luma, chroma
