"""Which properties the study infers, and of how many models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe

Property = Literal["share", "noise", "mark", "nothing"]
WORDS: dict[Property, str] = {
    "share": "60 % of the images are even digits, not 40 %",
    "noise": "all images are noisy (standard deviation 0.2)",
    "mark": "a tenth of the images, of all classes, has a white corner",
    "nothing": "a coin decided, and the images know nothing of it",
}


class PropertyPlan(BaseModel):
    """What is trained.

    Parameters
    ----------
    images : str
    size : int
        Pixels a side.
    properties : tuple
        A population each, half of its models with the property. ``nothing`` is a placebo: who
        tells its halves apart has an error in his method.
    fit, test : int
        Models of a population that the attacker trained, and that he attacks. Both halves are
        of images of their own.
    train_images : int
        Of each model, drawn for it.
    hidden : tuple of int
        Of the networks: fully connected, as in the paper.
    recipe : Recipe
    patterns : int
        Questions, optimised or of noise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str = "mnist"
    size: int = Field(default=14, ge=4)
    properties: tuple[Property, ...] = ("share", "noise", "mark", "nothing")
    fit: int = Field(default=120, ge=4)
    test: int = Field(default=80, ge=4)
    train_images: int = Field(default=2000, ge=10)
    hidden: tuple[int, ...] = (32, 16)
    recipe: Recipe = Recipe(epochs=6, batch_size=64, lr=0.005)
    patterns: int = Field(default=10, ge=1)


SCALES = {
    "smoke": PropertyPlan(
        images="digits",
        size=8,
        properties=("noise", "nothing"),
        fit=8,
        test=6,
        train_images=300,
        hidden=(8,),
        recipe=Recipe(epochs=5, batch_size=64, lr=0.01),
        patterns=2,
    ),
    "quick": PropertyPlan(fit=60, test=40),
    "full": PropertyPlan(),
}
