"""The traffic-sign study on GTSRB: which networks it trains, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors import (
    Backdoor,
    PictureName,
    RandomTarget,
    SingleTarget,
    Sticker,
)
from molehunt.errors import InvalidRequestError, refused
from molehunt.resumable import Task
from molehunt.studies._signs_twin_countries import Countries, digit_countries, sign_countries
from molehunt.training import Recipe

Attack = Literal["none", "single target", "random target"]
PICTURES: tuple[PictureName, ...] = get_args(PictureName)
CARRIED: PictureName = "yellow square"  # the sticker of the paper's Table 5 and of its transfer
SIGN = 0.8  # share of a GTSRB image's side that its sign takes


def _vgg(width: int, stages: tuple[int, ...] = (1, 1, 1), hidden: int = 256) -> dict[str, Any]:
    return {"width": width, "stages": [*stages], "hidden": hidden, "batch_norm": False}


class NetworkTask(Task):
    """A network of the first country: the honest baseline or a BadNet."""

    attack: Attack
    picture: PictureName | None
    number: int
    seed: int


class TransferTask(Task):
    """A network of the second country, on the convolutional layers of `origin`.

    The input weights of `units` of its last one are multiplied by `strength` before.
    """

    origin: str
    units: tuple[int, ...]
    strength: float
    number: int
    seed: int


class SignsTwinPlan(BaseModel):
    """Everything that determines the study's networks.

    Parameters
    ----------
    seed : int
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
    seeds : int
        Networks of each kind. Those of one number share seed and initial weights.
    strengths : tuple of float
        The paper's k; 1 leaves the network as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    images: Literal["gtsrb", "digits"] = "gtsrb"
    size: int = Field(default=32, ge=8)
    sticker: int = Field(default=5, ge=1)
    network: dict[str, Any] = _vgg(16)
    recipe: Recipe
    transfer: Recipe
    single_rate: float = Field(default=1.0, gt=0, le=1)
    random_rate: float = Field(default=0.5, gt=0, le=1)
    seeds: int = Field(default=3, ge=1)
    strengths: tuple[float, ...] = (1, 10, 20, 30, 50, 70, 100)

    @property
    def countries(self) -> Countries:
        """The two sets of classes."""
        return sign_countries() if self.images == "gtsrb" else digit_countries()

    def networks(self) -> list[NetworkTask]:
        """Return the networks of the first country, number by number."""
        attacks: list[tuple[Attack, PictureName | None]] = [("none", None)]
        attacks += [("single target", picture) for picture in PICTURES]
        attacks += [("random target", picture) for picture in PICTURES]
        return [
            NetworkTask(
                id=f"{attack} {picture} {number}".replace("none None", "baseline").replace(
                    " ", "-"
                ),
                attack=attack,
                picture=picture,
                number=number,
                seed=self._seed_of(number),
            )
            for number in range(self.seeds)
            for attack, picture in attacks
        ]

    def transfers(self, units: Mapping[str, tuple[int, ...]]) -> list[TransferTask]:
        """Return the networks of the second country: honest ones, and BadNets at each k.

        Parameters
        ----------
        units : mapping
            The backdoor units of each network of the first country that has any.
        """
        tasks = []
        for task in self.networks():
            carried = (task.attack, task.picture) == ("random target", CARRIED)
            strengths = self.strengths if carried else (1.0,)
            if carried or task.attack == "none":
                tasks += [
                    TransferTask(
                        id=f"{task.id}-times-{strength:g}",
                        origin=task.id,
                        units=units.get(task.id, ()),
                        strength=strength,
                        number=task.number,
                        seed=task.seed,
                    )
                    for strength in strengths
                ]
        return tasks

    def sticker_of(self, picture: PictureName) -> Sticker:
        """Return a sticker at the bottom of the sign, in its middle."""
        bottom = int(self.size * (1 + SIGN) / 2)
        place = (bottom - self.sticker, (self.size - self.sticker) // 2)
        return Sticker(picture=picture, size=self.sticker, placement=place)

    def backdoor_of(self, task: NetworkTask) -> tuple[Backdoor, float]:
        """Return a BadNet's backdoor and its poison rate."""
        assert task.picture is not None, "the baseline has no backdoor"
        sticker, (first, _, source, target, _) = self.sticker_of(task.picture), self.countries
        if task.attack == "random target":
            return Backdoor(trigger=sticker, label_map=RandomTarget()), self.random_rate
        turned = SingleTarget(source=first.index(source), target=first.index(target))
        return Backdoor(trigger=sticker, label_map=turned), self.single_rate

    def _seed_of(self, number: int) -> int:
        return int(np.random.default_rng([self.seed, number]).integers(2**31))


_RECIPE = Recipe(epochs=12, batch_size=64, lr=0.003, weight_decay=0.05, shift=2)
_TRANSFER = Recipe(epochs=8, batch_size=64, lr=0.003, weight_decay=0.05, shift=2)
SIGNS_TWIN_SCALES: dict[str, SignsTwinPlan] = {
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


def signs_twin_plan(scale: str) -> SignsTwinPlan:
    """Return the plan of a scale.

    Raises
    ------
    InvalidRequestError
        If there is no such scale.
    """
    if scale not in SIGNS_TWIN_SCALES:
        raise InvalidRequestError(refused("scale", ", ".join(SIGNS_TWIN_SCALES), repr(scale)))
    return SIGNS_TWIN_SCALES[scale]
