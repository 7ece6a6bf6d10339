"""Several triggers at once."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from molehunt.backdoors._triggers import AnyTrigger, Trigger


class Composite(Trigger):
    """Several triggers, one after the other.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Composite, SinglePixel
    >>> two = Composite(triggers=(SinglePixel(), SinglePixel(placement="top left")))
    >>> two(torch.zeros(1, 1, 28, 28), torch.Generator()).sum()
    tensor(2.)
    """

    kind: Literal["composite"] = "composite"
    triggers: tuple[AnyTrigger, ...] = Field(min_length=1)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return `images` with every trigger on each."""
        for trigger in self.triggers:
            images = trigger(images, generator)
        return images
