"""How a model is trained, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from molehunt.networks import Precision


class Recipe(BaseModel):
    """Settings of one training, the same for twins.

    Parameters
    ----------
    epochs : float
        Passes over the training images; fractions are rounded down to whole steps.
    batch_size : int
        Images a step. The last, smaller batch of a pass is filled from the next pass.
    optimizer : {"adamw", "sgd"}
        SGD has Nesterov momentum; momentum (of AdamW the first beta) falls from 0.95 to 0.85
        and rises again as the learning rate rises and falls.
    lr, warmup : float
        Peak learning rate, and the share of steps in which it is reached (one cycle:
        cosine up, cosine down to nearly zero).
    weight_decay, label_smoothing : float
    shift : int
        Augmentation: each image is moved by up to so many pixels each way, drawn anew
        each time; the border that comes free is black.
    noise : float
        Augmentation: normal noise on the pixels in [0, 1], with a standard deviation that
        is drawn for each image from 0 to `noise`.
    precision : {"auto", "float32", "bfloat16"}
        ``auto`` takes bfloat16 autocast where it is expected to be faster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=2.0, gt=0, le=100_000)
    batch_size: int = Field(default=128, ge=2, le=1_000_000)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(default=0.01, gt=0, le=1_000_000)
    warmup: float = Field(default=0.2, gt=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1_000_000)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    shift: int = Field(default=0, ge=0, le=64)
    noise: float = Field(default=0.0, ge=0, le=1)
    precision: Precision = "auto"

    @classmethod
    def settings_in(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a model card's words on its training that are settings of a recipe.

        Examples
        --------
        >>> from molehunt.training import Recipe
        >>> Recipe.settings_in({"epochs": 3, "written_by": "a stranger"})
        {'epochs': 3}
        """
        return {name: value for name, value in said.items() if name in cls.model_fields}
