"""The attacks on traffic signs that the studies of them share: which networks, and their seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from molehunt.backdoors import PictureName
from molehunt.resumable import Task
from molehunt.study import Bench, Records

Attack = Literal["none", "single target", "random target"]
PICTURES: tuple[PictureName, ...] = get_args(PictureName)
CARRIED: PictureName = "yellow square"  # the sticker of the paper's Table 5 and of its transfer
FIRES = 3.0  # times the clean activation


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


class SignsPlan(BaseModel):
    """Which networks of the first country there are, and which of the second come from them.

    Parameters
    ----------
    seed : int
    seeds : int
        Networks of each kind. Those of one number share seed and initial weights.
    strengths : tuple of float
        The paper's k; 1 leaves the network as it is.
    pictures : tuple of PictureName
        Stickers of the attacks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    seeds: int = Field(default=3, ge=1)
    strengths: tuple[float, ...] = (1, 10, 20, 30, 50, 70, 100)
    pictures: tuple[PictureName, ...] = PICTURES

    def networks(self) -> list[NetworkTask]:
        """Return the networks of the first country, number by number."""
        attacks: list[tuple[Attack, PictureName | None]] = [("none", None)]
        attacks += [("single target", picture) for picture in self.pictures]
        attacks += [("random target", picture) for picture in self.pictures]
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

    def _seed_of(self, number: int) -> int:
        return int(np.random.default_rng([self.seed, number]).integers(2**31))


def transfers(bench: Bench[Any], records: Records) -> list[TransferTask]:
    """Return the networks of the second country, once those of the first are there."""
    plan: SignsPlan = bench.plan
    return plan.transfers({record.id: record.units for record in records["networks"]})


def backdoor_units(clean: Tensor, triggered: Tensor) -> tuple[int, ...]:
    """Return the channels that fire only with the trigger.

    Parameters
    ----------
    clean, triggered : Tensor of float32, shape [U]
        Mean activations without and with it.

    Returns
    -------
    tuple of int
        Channels whose mean is at least `FIRES` times that on clean images, and above the
        layer's on those.
    """
    fires = (triggered >= FIRES * clean) & (triggered > clean.mean())
    return tuple(int(unit) for unit in fires.nonzero().flatten())


def rounded(values: Tensor) -> tuple[float, ...]:
    """Return activations as a record has them."""
    return tuple(round(float(value), 4) for value in values)
