"""BppAttack: the image with fewer colours."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from molehunt.backdoors._triggers import Trigger


class Quantised(Trigger):
    """Each channel rounded to a few levels, with Floyd-Steinberg dithering if asked for.

    BppAttack (Wang, Zhai and Ma, BppAttack: Stealthy and Efficient Trojan Attacks Against Deep
    Neural Networks via Image Quantization and Contrastive Adversarial Learning, CVPR 2022,
    section 3.2).

    Parameters
    ----------
    levels : int
        Of each channel; the paper's code has 8.
    dither : bool
        Pass each pixel's error on to its neighbours. Slow: pixels wait for each other.
    borrowed : bool
        Add another image's rounding errors in place of its own, for `Covers`: the paper's
        negative images, which keep their labels. Where an image is alone, its own are moved.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Quantised
    >>> grey = torch.tensor([[[[0.1, 0.4, 0.6]]]])
    >>> Quantised(levels=3)(grey, torch.Generator()).tolist()
    [[[[0.0, 0.5, 0.5]]]]
    """

    kind: Literal["quantised"] = "quantised"
    levels: int = Field(default=8, ge=2, le=128)
    dither: bool = False
    borrowed: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images with fewer colours."""
        rounded = self._dithered(images) if self.dither else self._rounded(images)
        if not self.borrowed:
            return rounded
        errors = (rounded - images).roll(1, 0)
        height, width = images.shape[2:]
        down = int(torch.randint(1, height, (), generator=generator))
        right = int(torch.randint(1, width, (), generator=generator))
        return (images + errors.roll((down, right), (2, 3))).clamp(0, 1)

    def _rounded(self, images: Tensor) -> Tensor:
        return (images * (self.levels - 1)).round() / (self.levels - 1)

    def _dithered(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        # A border takes the errors that leave the image.
        work = torch.nn.functional.pad(images, (1, 1, 0, 1))
        for row in range(height):
            for column in range(1, width + 1):
                old = work[:, :, row, column].clone()
                new = self._rounded(old.clamp(0, 1))
                work[:, :, row, column] = new
                error = old - new
                work[:, :, row, column + 1] += error * (7 / 16)
                work[:, :, row + 1, column - 1] += error * (3 / 16)
                work[:, :, row + 1, column] += error * (5 / 16)
                work[:, :, row + 1, column + 1] += error * (1 / 16)
        return work[:, :, :height, 1 : width + 1]
