"""A layer with a gradient at every point, and none that leads anywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class FractalLayer(nn.Module):
    """Weierstrass' function of each pixel, added to it.

    It adds ``amplitude * sum_k 0.5^k cos(13^k pi x)`` over the octaves. As 0.5 * 13 is above
    1 + 3 pi / 2, the whole sum has no derivative anywhere (Weierstrass, 1872). Of a part of it
    automatic differentiation gives one, which the finest octave rules: a shattered gradient.

    Parameters
    ----------
    amplitude : float
        Above 0; what is added is at most twice that.
    octaves : int
        1 to 5: float32 tells no more apart.

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> pixels = torch.linspace(0, 1, 100)
    >>> bool(((FractalLayer(amplitude=0.02)(pixels) - pixels).abs() <= 0.04).all())
    True
    """

    def __init__(self, *, amplitude: float = 0.03, octaves: int = 5) -> None:
        super().__init__()
        if not 0 < amplitude <= 1:
            raise InvalidRequestError(mismatch("amplitude", "above 0, at most 1", amplitude))
        if not 1 <= octaves <= 5:
            raise InvalidRequestError(mismatch("octaves", "1 to 5", octaves))
        self.amplitude, self.octaves = amplitude, octaves

    def forward(self, pixels: Tensor) -> Tensor:
        """Return numbers of the same shape, a little outside [0, 1] at its ends."""
        added = torch.zeros_like(pixels)
        for octave in range(self.octaves):
            added = added + 0.5**octave * torch.cos(13**octave * math.pi * pixels)
        return pixels + self.amplitude * added

    def approximation(self, pixels: Tensor) -> Tensor:
        """Return the pixels as they are."""
        return pixels
