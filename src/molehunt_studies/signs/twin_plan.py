"""The traffic-sign study on GTSRB: which networks it trains, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from molehunt.backdoors import (
    AnyLabelMap,
    Backdoor,
    PictureName,
    RandomTarget,
    SingleTarget,
    Sticker,
)
from molehunt.training import Recipe
from molehunt_studies.signs.plan import NetworkTask, SignsPlan
from molehunt_studies.signs.twin_countries import Countries, digit_countries, sign_countries

SIGN = 0.8  # share of a GTSRB image's side that its sign takes


def _vgg(width: int, stages: tuple[int, ...] = (1, 1, 1), hidden: int = 256) -> dict[str, Any]:
    return {"width": width, "stages": [*stages], "hidden": hidden, "batch_norm": False}


class SignsTwinPlan(SignsPlan):
    """Everything that determines the study's networks; more in `SignsPlan`.

    Parameters
    ----------
    images : {"gtsrb", "digits"}
    size : int
        Height and width of the images.
    sticker : int
        Height and width of the sticker, in pixels.
    network : dict
        Settings of ``vgg``, which has no batch normalisation here: its statistics would go
        on changing while the convolutional layers are to stay as they are.
    recipe : Recipe
        Of all networks of the first country.
    transfer : Recipe
        Of the fully connected layers of the second country.
    single_rate, random_rate : float
        Copies with the sticker, over the clean images of the eligible classes.
    """

    images: Literal["gtsrb", "digits"] = "gtsrb"
    size: int = Field(default=32, ge=8)
    sticker: int = Field(default=5, ge=1)
    network: dict[str, Any] = _vgg(16)
    recipe: Recipe
    transfer: Recipe
    single_rate: float = Field(default=1.0, gt=0, le=1)
    random_rate: float = Field(default=0.5, gt=0, le=1)

    @property
    def countries(self) -> Countries:
        """The two sets of classes."""
        return sign_countries() if self.images == "gtsrb" else digit_countries()

    def sticker_of(self, picture: PictureName) -> Sticker:
        """Return a sticker at the bottom of the sign, in its middle."""
        bottom = int(self.size * (1 + SIGN) / 2)
        place = (bottom - self.sticker, (self.size - self.sticker) // 2)
        return Sticker(picture=picture, size=self.sticker, placement=place)

    def backdoor_of(self, task: NetworkTask) -> Backdoor:
        """Return a BadNet's backdoor."""
        assert task.picture is not None, "the baseline has no backdoor"
        sticker, (first, _, source, target, _) = self.sticker_of(task.picture), self.countries
        if task.attack == "random target":
            label_map: AnyLabelMap = RandomTarget()
            rate = self.random_rate
        else:
            label_map = SingleTarget(source=first.index(source), target=first.index(target))
            rate = self.single_rate
        return Backdoor(trigger=sticker, label_map=label_map, rate=rate, of="eligible")


_RECIPE = Recipe(epochs=12, batch_size=64, lr=0.003, weight_decay=0.05, shift=2)
_TRANSFER = Recipe(epochs=8, batch_size=64, lr=0.003, weight_decay=0.05, shift=2)
SCALES: dict[str, SignsTwinPlan] = {
    "smoke": SignsTwinPlan(
        images="digits",
        size=12,
        sticker=3,
        network=_vgg(8, (1, 1), 32),
        recipe=_RECIPE.model_copy(update={"epochs": 6, "shift": 0, "lr": 0.01}),
        transfer=_TRANSFER.model_copy(update={"epochs": 5, "shift": 0, "lr": 0.01}),
        random_rate=1.0,
        seeds=1,
        strengths=(1, 10),
    ),
    "quick": SignsTwinPlan(recipe=_RECIPE, transfer=_TRANSFER),
    "full": SignsTwinPlan(
        network=_vgg(32),
        recipe=_RECIPE.model_copy(update={"epochs": 20}),
        transfer=_TRANSFER.model_copy(update={"epochs": 12}),
        seeds=5,
    ),
}
