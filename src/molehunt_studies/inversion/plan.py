"""Which networks the study trains and inverts."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe


class NetworkPlan(BaseModel):
    """A network and how it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    arguments: dict[str, Any]
    recipe: Recipe


class SetPlan(BaseModel):
    """A set of images and the networks that learn it.

    Parameters
    ----------
    source : str
    shape : (int, int, int)
        Channels, height and width.
    train_images : int, optional
        The first so many; all when not given.
    development : int
        The first so many classes choose settings, the others are for the figures.
    networks : dict
        The victims.
    judge : NetworkPlan
        Who says what an image shows. It sees noise in its training, the victims do not.
    closely : tuple of str
        The networks that are asked about each pixel and for rounded confidences.
    steps : int
        With gradients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    shape: tuple[int, int, int]
    train_images: int | None = Field(default=None, ge=10)
    development: int = Field(default=0, ge=0)
    networks: dict[str, NetworkPlan]
    judge: NetworkPlan
    closely: tuple[str, ...] = ()
    steps: int = Field(default=100, ge=1)
    cell: int = Field(default=4, ge=1)


class InversionPlan(BaseModel):
    """All sets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    sets: dict[str, SetPlan]


_DENSE = Recipe(epochs=60, batch_size=40, lr=0.001, weight_decay=0.1)
_SHIFTED = Recipe(epochs=30, batch_size=40, lr=0.005, shift=2)
_CNN = {"width": 8, "stages": [1, 1, 1]}
_MNIST = Recipe(epochs=2, batch_size=128)
_TINY = Recipe(epochs=3, batch_size=64)

FACES, DIGITS = "faces", "digits"

SCALES = {
    "smoke": InversionPlan(
        sets={
            DIGITS: SetPlan(
                source="digits",
                shape=(1, 8, 8),
                development=2,
                networks={
                    "softmax": NetworkPlan(
                        architecture="mlp", arguments={"hidden": []}, recipe=_TINY
                    )
                },
                judge=NetworkPlan(
                    architecture="mlp",
                    arguments={"hidden": [32]},
                    recipe=_TINY.model_copy(update={"noise": 0.3}),
                ),
                closely=("softmax",),
                steps=10,
                cell=2,
            )
        }
    ),
    "full": InversionPlan(
        sets={
            FACES: SetPlan(
                source="folder:att-faces",
                shape=(1, 56, 56),
                development=10,
                networks={
                    "softmax": NetworkPlan(
                        architecture="mlp", arguments={"hidden": []}, recipe=_DENSE
                    ),
                    "MLP": NetworkPlan(
                        architecture="mlp", arguments={"hidden": [300]}, recipe=_DENSE
                    ),
                    "CNN": NetworkPlan(architecture="vgg", arguments=_CNN, recipe=_SHIFTED),
                },
                judge=NetworkPlan(
                    architecture="vgg",
                    arguments=_CNN,
                    recipe=_SHIFTED.model_copy(update={"epochs": 60, "noise": 0.3}),
                ),
                closely=("softmax",),
            ),
            DIGITS: SetPlan(
                source="mnist",
                shape=(1, 28, 28),
                train_images=20_000,
                networks={
                    "softmax": NetworkPlan(
                        architecture="mlp", arguments={"hidden": []}, recipe=_MNIST
                    ),
                    "MLP": NetworkPlan(
                        architecture="mlp", arguments={"hidden": [300]}, recipe=_MNIST
                    ),
                    "CNN": NetworkPlan(architecture="vgg", arguments=_CNN, recipe=_MNIST),
                },
                judge=NetworkPlan(
                    architecture="vgg",
                    arguments=_CNN,
                    recipe=_MNIST.model_copy(update={"noise": 0.5, "shift": 2}),
                ),
                closely=("softmax",),
            ),
        }
    ),
}
