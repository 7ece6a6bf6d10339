"""JPEG compression of what goes into a model."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from molehunt.defences._soft_jpeg import soft_jpeg
from molehunt.defences._zero_gradient import zero_gradient
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch


class JpegCompression(nn.Module):
    """Images written as JPEG and read again (Dziugaite et al., 2016; Guo et al., 2018).

    The gradient is zero almost everywhere, as coefficients and pixels are rounded.

    Parameters
    ----------
    quality : int
        1 to 100; 75 in Guo et al.

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> rough = JpegCompression(quality=10)(pixels)
    >>> bool((rough - pixels).abs().mean() > (JpegCompression()(pixels) - pixels).abs().mean())
    True
    """

    def __init__(self, *, quality: int = 75) -> None:
        super().__init__()
        if not 1 <= quality <= 100:
            raise InvalidRequestError(mismatch("quality", "1 to 100", quality))
        self.quality = quality

    def forward(self, pixels: Tensor) -> Tensor:
        """Return pixels of the same shape.

        Raises
        ------
        UnsuitableSubjectError
            If images have other than one or three channels.
        """
        if pixels.shape[1] not in (1, 3):
            raise UnsuitableSubjectError(mismatch("channels for JPEG", "1 or 3", pixels.shape[1]))
        return zero_gradient(self._compressed, pixels)

    def approximation(self, pixels: Tensor) -> Tensor:
        """Return about the same image, its coefficients softly rounded."""
        return soft_jpeg(pixels, self.quality)

    def _compressed(self, pixels: Tensor) -> Tensor:
        images = (pixels.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
        read = np.stack([self._compress(each) for each in images.permute(0, 2, 3, 1).numpy()])
        return torch.from_numpy(read).permute(0, 3, 1, 2).to(pixels.device, pixels.dtype) / 255

    def _compress(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image [H, W, C] as its file shows it."""
        stream = io.BytesIO()
        grey = image.shape[2] == 1
        Image.fromarray(image[..., 0] if grey else image).save(stream, "JPEG", quality=self.quality)
        read = np.asarray(Image.open(stream))
        return read[..., None] if grey else read
