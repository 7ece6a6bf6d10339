"""Images that are drawn again from some of their pixels, as smooth as they can be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.defences._zero_gradient import zero_gradient
from molehunt.errors import InvalidRequestError, mismatch

_SHARP = 1e-3  # under a root, so that flat areas have a gradient


class TotalVariation(nn.Module):
    """Reconstruction from random pixels by total variation minimisation (Guo et al., 2018).

    Of the image z that minimises ``|mask * (z - x)|^2 + weight * TV(z)``, found by `steps` of
    gradient descent with momentum from an image whose missing pixels are filled from their
    neighbours. Guo et al. use split Bregman iterations. No gradient passes.

    Parameters
    ----------
    keep : float
        Chance of each pixel to be in the mask, above 0, at most 1; 0.5 in the paper.
    weight : float
        0.03 in the paper.
    steps : int
    seed : int
        Of the masks, which are drawn anew for each question.

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> grey = torch.full((1, 1, 8, 8), 0.5)
    >>> bool(torch.allclose(TotalVariation(seed=0)(grey), grey, atol=0.01))
    True
    """

    def __init__(
        self, *, keep: float = 0.5, weight: float = 0.03, steps: int = 20, seed: int = 0
    ) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise InvalidRequestError(mismatch("keep", "above 0, at most 1", keep))
        if not weight >= 0 or steps < 1:
            got = f"{weight} and {steps}"
            raise InvalidRequestError(mismatch("weight and steps", "from 0 and from 1", got))
        self.keep, self.weight, self.steps = keep, weight, steps
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return pixels of the same shape [N, C, H, W]; a mask has one value a pixel."""
        count, _, height, width = pixels.shape
        drawn = torch.rand(count, 1, height, width, generator=self.generator)
        mask = (drawn < self.keep).to(pixels.device, pixels.dtype)
        return zero_gradient(lambda inputs: self._smoothed(inputs, mask), pixels)

    def approximation(self, pixels: Tensor) -> Tensor:
        """Return the mean of the 3x3 square around each pixel: fine detail does not pass."""
        return functional.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False)

    def _smoothed(self, pixels: Tensor, mask: Tensor) -> Tensor:
        image = mask * pixels + (1 - mask) * _mean_of_neighbours(pixels, mask)
        speed = torch.zeros_like(image)
        for _ in range(self.steps):
            slope = 2 * mask * (image - pixels) + self.weight * _slope_of_variation(image)
            speed = 0.8 * speed - 0.2 * slope
            image = image + speed
        return image.clamp(0, 1)


def _mean_of_neighbours(pixels: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the kept pixels in the 5x5 square around each."""
    total = functional.avg_pool2d(pixels * mask, 5, 1, 2)
    return total / functional.avg_pool2d(mask, 5, 1, 2).clamp_min(1e-6)


def _slope_of_variation(image: Tensor) -> Tensor:
    """Return the gradient of the total variation, the sum of |(dx, dy)| over all pixels."""
    down = functional.pad(image.diff(dim=2), (0, 0, 0, 1))
    right = functional.pad(image.diff(dim=3), (0, 1))
    length = (down.square() + right.square() + _SHARP).sqrt()
    down, right = down / length, right / length
    above = functional.pad(down, (0, 0, 1, 0))[:, :, :-1]
    left = functional.pad(right, (1, 0))[..., :-1]
    return above - down + left - right
