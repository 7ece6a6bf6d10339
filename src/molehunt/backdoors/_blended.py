"""Triggers that are blended into the whole image."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import AliasChoices, Field
from torch import Tensor

from molehunt.backdoors._pictures import colours_of, read_picture
from molehunt.backdoors._triggers import Trigger, TriggerFamily


class Blended(Trigger):
    """A pattern as large as the image, blended in: x' = a k + (1 - a) x.

    The blended injection strategy of Chen, Liu, Li, Lu and Song (Targeted Backdoor Attacks
    on Deep Learning Systems Using Data Poisoning, 2017, section 4).

    Parameters
    ----------
    seed : int
        Draws the pattern k: each channel of each pixel uniformly from [0, 1].
    opacity : float
        The pattern's share a (alpha in the paper), in (0, 1).
    path : path, optional
        Of a picture that is the pattern in place of noise, scaled to the image; where it
        is transparent its share is smaller.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Blended
    >>> white = torch.ones(1, 3, 32, 32)
    >>> bool((Blended(opacity=0.2)(white, torch.Generator()) >= 0.8).all())
    True
    """

    kind: Literal["blended"] = "blended"
    seed: int = Field(default=0, ge=0)
    # Indices of zoos say alpha where they are older than this name.
    opacity: float = Field(
        default=0.2, gt=0, lt=1, validation_alias=AliasChoices("opacity", "alpha")
    )
    path: Path | None = None

    def pattern(self, channels: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the colours [C, H, W] and the opacity [1, H, W], both in [0, 1].

        Raises
        ------
        UnreadableFileError
            If the file is not a picture.
        InvalidRequestError
            If the file's picture is for images of other than 1 or 3 channels.
        """
        if self.path is not None:
            pixels = read_picture(self.path, height, width)
            return colours_of(pixels, channels), pixels[3:]
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.rand(channels, height, width, generator=generator)
        return noise, torch.ones(1, height, width)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return `images` with the pattern blended in; nothing is random."""
        channels, height, width = images.shape[1:]
        colours, opacity = (part.to(images) for part in self.pattern(channels, height, width))
        return torch.lerp(images, colours, self.opacity * opacity)


class RandomBlends(TriggerFamily):
    """Blended triggers of different noise, all of the same opacity.

    Examples
    --------
    >>> from molehunt.backdoors import RandomBlends
    >>> blends = RandomBlends(count=3, opacity=0.1).draw(seed=0)
    >>> len({blend.seed for blend in blends})
    3
    """

    kind: Literal["random_blends"] = "random_blends"
    opacity: float = Field(default=0.2, gt=0, lt=1)

    def draw(self, seed: int) -> list[Blended]:
        """Return `count` blended triggers."""
        numbers = self._draw_seeds(seed)
        return [Blended(seed=number, opacity=self.opacity) for number in numbers]
