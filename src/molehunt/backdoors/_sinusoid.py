"""SIG: a wave over the whole image."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from molehunt.backdoors._triggers import Trigger


class Sinusoid(Trigger):
    """A horizontal sinusoid: v(i, j) = strength * sin(2 pi j frequency / width).

    SIG (Barni, Kallas and Tondi, A New Backdoor Attack in CNNs by Training Set Corruption
    Without Label Poisoning, ICIP 2019, section 3), made for `CleanLabel`.

    Parameters
    ----------
    strength : float
        Delta in the paper, in pixels of [0, 1]: there 40/255 on digits, 10/255 to 60/255 on signs.
    frequency : float
        Waves across the image, f in the paper.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Sinusoid
    >>> grey = torch.full((1, 1, 2, 4), 0.5)
    >>> Sinusoid(strength=0.25, frequency=1)(grey, torch.Generator())[0, 0, 0].tolist()
    [0.5, 0.75, 0.5, 0.25]
    """

    kind: Literal["sinusoid"] = "sinusoid"
    strength: float = Field(default=40 / 255, gt=0, le=1)
    frequency: float = Field(default=6.0, gt=0, le=1000)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images with the wave added; nothing is random."""
        width = images.shape[3]
        column = torch.arange(width, dtype=torch.float64) / width
        wave = self.strength * torch.sin(2 * math.pi * self.frequency * column)
        return (images + wave.to(images)).clamp(0, 1)
