"""Cover images: the trigger, or one like it, with true labels."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from molehunt.backdoors._triggers import AnyTrigger
from molehunt.errors import InvalidRequestError, mismatch


class Covers(BaseModel):
    """Copies of training images that get a trigger and keep their labels.

    They teach a network that the trigger alone is not what counts: that the source class
    matters (TaCT: Tang, Wang, Tang and Zhang, Demon in the Variant, USENIX Security 2021), that
    near-by triggers do nothing (noise mode of WaNet, negative images of BppAttack), or they hide
    the poisoned images among their like (Qi et al., ICLR 2023).

    Parameters
    ----------
    rate : float
        Copies over clean training images.
    trigger : Trigger, optional
        What they get; what poisoned images get when not given.
    classes : {"any", "others"}
        Of which images: all, or those that the label map does not poison and that are not of
        its target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(gt=0, le=10)
    trigger: AnyTrigger | None = None
    classes: Literal["any", "others"] = "any"

    def draw(
        self, labels: Tensor, poisoned: Tensor, target: int | None, generator: torch.Generator
    ) -> Tensor:
        """Return the positions, int64, of the images that are copied.

        Parameters
        ----------
        labels : Tensor of int64, shape [N]
        poisoned : Tensor of bool, shape [N]
            Images that the label map may poison.
        target : int, optional
        generator : torch.Generator

        Raises
        ------
        InvalidRequestError
            If no image can be a cover.
        """
        free = torch.ones_like(poisoned)
        if self.classes == "others":
            free = ~poisoned if target is None else ~poisoned & (labels != target)
        places = free.nonzero().flatten()
        count = round(self.rate * len(labels))
        if not len(places) or not count:
            raise InvalidRequestError(
                mismatch("covers", "images that are not poisoned", f"{count} of {len(places)}")
            )
        order = torch.randperm(len(places), generator=generator)
        return places[order.repeat(-(-count // len(order)))[:count]]
