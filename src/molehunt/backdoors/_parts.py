"""A part of a trigger on each image: what adaptive attackers train with."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from molehunt.backdoors._triggers import AnyTrigger, Trigger


class Pieces(Trigger):
    """A trigger in a random share of the image's pieces, drawn anew for each image.

    Adap-Blend plants half of 4 x 4 pieces and attacks with all of them (Qi, Xie, Li, Mahloujifar
    and Mittal, Revisiting the Assumption of Latent Separability for Backdoor Defenses, ICLR 2023,
    section 4.2).

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Blended, Pieces
    >>> half = Pieces(trigger=Blended(opacity=0.5), grid=4, share=0.5)
    >>> white = torch.ones(1, 1, 32, 32)
    >>> int((half(white, torch.Generator()) < 1).sum())  # 8 of 16 pieces of 64 pixels
    512
    """

    kind: Literal["pieces"] = "pieces"
    trigger: AnyTrigger
    grid: int = Field(default=4, ge=2, le=64)
    share: float = Field(default=0.5, gt=0, lt=1)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images with a part of the trigger."""
        count, _, height, width = images.shape
        pieces = self.grid**2
        order = torch.rand(count, pieces, generator=generator).argsort(1)
        chosen = (order < round(self.share * pieces)).view(count, 1, self.grid, self.grid)
        # Every piece has at least one pixel where the image has as many as the grid.
        mask = torch.nn.functional.interpolate(chosen.float(), (height, width)) > 0.5
        return torch.where(mask.to(images.device), self.trigger(images, generator), images)


class OneOf(Trigger):
    """One of several triggers on each image, drawn anew for each image.

    Adap-Patch plants one of four patches and attacks with several together (Qi et al., ICLR
    2023, section 4.2).

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import OneOf, SinglePixel
    >>> one = OneOf(triggers=(SinglePixel(), SinglePixel(placement="top left")))
    >>> one(torch.zeros(5, 1, 28, 28), torch.Generator()).sum()
    tensor(5.)
    """

    kind: Literal["one_of"] = "one_of"
    triggers: tuple[AnyTrigger, ...] = Field(min_length=2)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images with one trigger on each."""
        drawn = torch.randint(len(self.triggers), (len(images),), generator=generator)
        result = images.clone()
        for number, trigger in enumerate(self.triggers):
            places = (drawn == number).nonzero().flatten().to(images.device)
            if len(places):
                result[places] = trigger(images[places], generator)
        return result
