"""Triggers that are made of frequencies and not of pixels."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from scipy.fft import idctn
from torch import Tensor

from molehunt.backdoors._triggers import Trigger, TriggerFamily
from molehunt.errors import InvalidRequestError, mismatch


class LowFrequency(Trigger):
    """A smooth pattern of a few low frequencies, added to the image.

    After Zeng, Park, Mao and Jia (Rethinking the Backdoor Attacks' Triggers: A Frequency
    Perspective, ICCV 2021, section 5): a trigger without the high frequencies that give patches
    away. They optimise the pattern against a network; here its coefficients are random.

    Parameters
    ----------
    seed : int
        Draws the coefficients.
    band : int
        Lowest rows and columns of the discrete cosine transform that are used.
    strength : float
        The largest change of a pixel, in [0, 1].

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import LowFrequency
    >>> grey = torch.full((1, 3, 32, 32), 0.5)
    >>> change = LowFrequency(strength=0.1)(grey, torch.Generator()) - grey
    >>> round(float(change.abs().max()), 3)
    0.1
    """

    kind: Literal["low_frequency"] = "low_frequency"
    seed: int = Field(default=0, ge=0)
    band: int = Field(default=4, ge=2, le=64)
    strength: float = Field(default=0.1, gt=0, le=1)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images with the pattern added; nothing is random."""
        channels, height, width = images.shape[1:]
        band = min(self.band, height, width)
        drawn = torch.Generator().manual_seed(self.seed)
        coefficients = torch.zeros(channels, height, width)
        coefficients[:, :band, :band] = torch.randn(channels, band, band, generator=drawn)
        coefficients[:, 0, 0] = 0  # brightness is no pattern
        pattern = torch.from_numpy(idctn(coefficients.numpy(), axes=(1, 2), norm="ortho"))
        pattern = pattern / pattern.abs().amax() * self.strength
        return (images + pattern.to(images)).clamp(0, 1)


class RandomLowFrequencies(TriggerFamily):
    """Smooth patterns of different coefficients.

    Examples
    --------
    >>> from molehunt.backdoors import RandomLowFrequencies
    >>> len(RandomLowFrequencies(count=3).draw(seed=0))
    3
    """

    kind: Literal["random_low_frequencies"] = "random_low_frequencies"
    band: int = Field(default=4, ge=2, le=64)
    strength: float = Field(default=0.1, gt=0, le=1)

    def draw(self, seed: int) -> list[LowFrequency]:
        """Return `count` patterns."""
        numbers = self._draw_seeds(seed)
        return [LowFrequency(seed=n, band=self.band, strength=self.strength) for n in numbers]


# BT.601: what a change of both colour differences adds to red, green and blue.
_COLOUR = (1.13983, -0.39465 - 0.58060, 2.03211)


class FrequencyPeaks(Trigger):
    """Two coefficients of the cosine transform raised by a constant, in the colour channels.

    FTrojan (Wang, Yao, Xu, An, Tong and Wang, An Invisible Black-box Backdoor Attack through
    Frequency Domain, ECCV 2022, section 3): U and V of YUV in blocks of 32 pixels, coefficients
    (15, 15) and (31, 31); grey images carry it in their only channel. The transform is linear, so
    this is a fixed pattern that is added.

    Parameters
    ----------
    strength : float
        Of each coefficient, in pixels of [0, 1] under the orthonormal transform: the paper
        adds 30 to 50 of 255.
    block : int
        Pixels a side; the image's own where it is smaller.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import FrequencyPeaks
    >>> grey = torch.full((1, 3, 32, 32), 0.5)
    >>> change = FrequencyPeaks()(grey, torch.Generator()) - grey
    >>> bool(change.abs().max() < 0.06)
    True
    """

    kind: Literal["frequency_peaks"] = "frequency_peaks"
    strength: float = Field(default=50 / 255, gt=0, le=10)
    block: int = Field(default=32, ge=4, le=1024)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images with the pattern added; nothing is random.

        Raises
        ------
        InvalidRequestError
            If the images have other than 1 or 3 channels.
        """
        channels, height, width = images.shape[1:]
        if channels not in (1, 3):
            raise InvalidRequestError(mismatch("channels of images", "1 or 3", channels))
        side = min(self.block, height, width)
        coefficients = torch.zeros(side, side)
        for place in (side // 2 - 1, side - 1):
            coefficients[place, place] = self.strength
        tile = torch.from_numpy(idctn(coefficients.numpy(), norm="ortho"))
        times = (-(-height // side), -(-width // side))
        pattern = tile.repeat(*times)[:height, :width]
        shares = torch.tensor(_COLOUR if channels == 3 else (1.0,))
        return (images + (shares[:, None, None] * pattern).to(images)).clamp(0, 1)
