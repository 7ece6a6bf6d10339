"""A property of training data as a whole: which share of them some classes have."""

from __future__ import annotations

import math
from typing import Annotated, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet

Part = Annotated[float, Field(gt=0, lt=1)]


class PropertyPlan(BaseModel):
    """Models with and without a property, in place of backdoors.

    Of each pair one model is trained on images of which `share` are of some classes, and one on
    as many of which `otherwise` are: same seed, images drawn for each from its own.

    Parameters
    ----------
    classes : tuple of int
        No property without one.
    share, otherwise : float
        In (0, 1).

    Examples
    --------
    >>> PropertyPlan(classes=(3, 1), share=0.6).words
    'share of the classes 1, 3'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    classes: tuple[Annotated[int, Field(ge=0, le=99_999)], ...] = Field(default=(), max_length=1000)
    share: Part = 0.6
    otherwise: Part = 0.4

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.share <= self.otherwise:
            allowed = f"above otherwise ({self.otherwise:g})"
            raise ValueError(mismatch("share", allowed, self.share))
        return self

    @property
    def words(self) -> str:
        """What the property is called in facts."""
        return f"share of the classes {', '.join(map(str, sorted(set(self.classes))))}"

    def draw(
        self, train: ImageSet, value: float, limit: int | None, generator: torch.Generator
    ) -> ImageSet:
        """Return images of which a share is of the classes, as many as both kinds can have.

        Raises
        ------
        InvalidRequestError
            If the classes are not some of the set's, or `limit` images are not there.
        """
        if not 0 < len(set(self.classes)) < train.num_classes > max(self.classes):
            allowed = f"some of 0 to {train.num_classes - 1}"
            raise InvalidRequestError(mismatch("properties.classes", allowed, self.classes))
        inside = torch.isin(train.labels, torch.tensor(self.classes))
        places = [inside.nonzero().flatten(), (~inside).nonzero().flatten()]
        most = math.floor(min(len(places[0]) / self.share, len(places[1]) / (1 - self.otherwise)))
        if most < (limit or 2):
            allowed = f"{limit or 2} for shares of {self.share:g} and {self.otherwise:g}"
            raise InvalidRequestError(mismatch("training images", allowed, most))
        count = limit or most
        hits = round(value * count)
        drawn = [
            place[torch.randperm(len(place), generator=generator)[:number]]
            for place, number in zip(places, (hits, count - hits), strict=True)
        ]
        return train.take(torch.cat(drawn))
