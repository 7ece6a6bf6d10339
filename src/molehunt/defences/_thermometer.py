"""Thermometer codes: a pixel becomes a row of zeros and ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molehunt.defences._zero_gradient import zero_gradient
from molehunt.errors import InvalidRequestError, mismatch


class ThermometerCode(nn.Module):
    """For each channel `levels` channels that say which thresholds a pixel passes.

    By Buckman et al. (2018). The model behind it takes C * levels channels and is trained on
    codes. The gradient of a code is zero almost everywhere. The approximation rises from 0 to 1
    beside each threshold, over two levels; that of Athalye et al. (2018, section 5.1.2),
    min(max(x - k / levels, 0), 1), rises far away from it, and left three times as many images
    of CIFAR-10 (10 and 3 of 60).

    Parameters
    ----------
    levels : int
        2 to 256; 16 in the paper.

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> ThermometerCode(levels=4)(torch.tensor([0.6]).view(1, 1, 1, 1)).flatten().tolist()
    [1.0, 1.0, 1.0, 0.0]
    """

    def __init__(self, *, levels: int = 16) -> None:
        super().__init__()
        if not 2 <= levels <= 256:
            raise InvalidRequestError(mismatch("levels", "2 to 256", levels))
        self.levels = levels

    def forward(self, pixels: Tensor) -> Tensor:
        """Return codes [N, C * levels, H, W] of pixels [N, C, H, W]."""
        return zero_gradient(lambda inputs: (self._above(inputs) > 0).to(inputs.dtype), pixels)

    def approximation(self, pixels: Tensor) -> Tensor:
        """Return codes that rise beside each threshold, of the codes' shape."""
        return (self.levels / 2 * self._above(pixels) + 0.5).clamp(0, 1)

    def _above(self, pixels: Tensor) -> Tensor:
        thresholds = torch.arange(self.levels, device=pixels.device) / self.levels
        return (pixels[:, :, None] - thresholds.view(1, 1, -1, 1, 1)).flatten(1, 2)
