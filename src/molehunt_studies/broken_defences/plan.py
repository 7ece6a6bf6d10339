"""Which networks the study trains, behind which defences, and which attacks it runs on them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from molehunt.resumable import Task
from molehunt.training import Recipe

Network = Literal["plain", "thermometer", "distilled", "features", "adversarial"]
Attack = Literal["usual", "transfer", "decision", "bpda", "eot", "adaptive", "harder"]

HELD_OUT = 500  # the last training images, on which settings were chosen


class SetPlan(BaseModel):
    """One set of images, its networks and how far an attack may go.

    Parameters
    ----------
    source : str
        As in `molehunt.images.load_images`.
    train_limit : int
        Training images, drawn at random; the last 500 of them are held out.
    arguments : dict
        Of the VGG-like networks.
    recipe : Recipe
        Of all networks but the adversarially trained one.
    adversarial : Recipe
    adversarial_steps : int
        Of the attack in each training step.
    epsilon : float
        Maximum norm, pixels in [0, 1].
    bits, levels, quality : int
        Of reduced bit depth, thermometer codes, and JPEG.
    keep : float
        Share of pixels that total variation minimisation keeps.
    variation, variation_steps : float, int
        Its weight and its steps.
    amplitude : float
        Of the fractal layer.
    smallest, features, noise, rate : float
        Of random resizing, random features, noise on logits and dropout.
    temperature : float
        Of defensive distillation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    train_limit: int = Field(ge=600)
    arguments: dict[str, Any]
    recipe: Recipe
    adversarial: Recipe
    adversarial_steps: int = Field(ge=1)
    epsilon: float = Field(gt=0, le=1)
    bits: int
    levels: int = 16
    quality: int = 75
    keep: float = 0.5
    variation: float = 0.03
    variation_steps: int = 12
    amplitude: float = 0.03
    smallest: float = 0.85
    features: float = 0.7
    noise: float = 1.0
    rate: float = 0.1
    temperature: float = 20.0


class NetworkTask(Task):
    """One network to train."""

    images: str
    network: Network
    seed: int


class AttackTask(Task):
    """One attack on one defence."""

    images: str
    defence: str
    attack: Attack
    seed: int


class SignTask(Task):
    """The warning signs of one defence under the usual attack."""

    images: str
    defence: str
    seed: int


class BrokenPlan(BaseModel):
    """Everything that determines the study.

    Parameters
    ----------
    seed : int
    sets : dict
    images, decision_images, sign_images : int
        Test images of the gradient attacks, the first of them of the decision-based attack,
        and of the warning signs.
    steps, adaptive_steps : int
        Of gradient attacks, and of the adaptive one, whose steps are a quarter of epsilon.
    draws : int
        Over which they average where a defence is random.
    decision_steps : int
        Of HopSkipJump; s of them ask about 100 s^1.5 / 1.5 questions an image.
    sign_queries : int
        An image, of the search by squares.
    part : {"test", "held out"}
        Which images are attacked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    sets: dict[str, SetPlan]
    images: int = Field(default=200, ge=10)
    decision_images: int = Field(default=25, ge=1)
    sign_images: int = Field(default=50, ge=1)
    steps: int = Field(default=15, ge=2)
    adaptive_steps: int = Field(default=24, ge=2)
    draws: int = Field(default=6, ge=1)
    decision_steps: int = Field(default=4, ge=1)
    sign_queries: int = Field(default=100, ge=1)
    part: Literal["test", "held out"] = "test"

    def networks(self) -> list[NetworkTask]:
        """Return every network."""
        return [
            NetworkTask(
                id=f"{name}-{network}",
                images=name,
                network=network,
                seed=self.seed_of(f"{name}-{network}"),
            )
            for name in self.sets
            for network in NETWORKS
        ]

    def seed_of(self, name: str) -> int:
        """Return the seed of a piece of the study, which no other piece changes."""
        return int(np.random.default_rng([self.seed, *name.encode()]).integers(2**31))


NETWORKS: tuple[Network, ...] = ("plain", "thermometer", "distilled", "features", "adversarial")

_VGG = {"width": 16, "stages": [1, 1, 1]}
_MNIST = SetPlan(
    source="mnist",
    train_limit=10_500,
    arguments=_VGG,
    recipe=Recipe(epochs=3, lr=0.01),
    adversarial=Recipe(epochs=5, lr=0.01),
    adversarial_steps=3,
    epsilon=0.3,
    bits=1,
)
_CIFAR10 = SetPlan(
    source="folder:cifar10-folder",
    train_limit=15_000,
    arguments=_VGG,
    recipe=Recipe(epochs=5, lr=0.01, shift=2),
    adversarial=Recipe(epochs=6, lr=0.01, shift=2),
    adversarial_steps=1,
    epsilon=8 / 255,
    bits=3,
)
_DIGITS = SetPlan(
    source="digits",
    train_limit=1347,
    arguments={"width": 6, "stages": [1]},
    recipe=Recipe(epochs=2, batch_size=64, lr=0.02),
    adversarial=Recipe(epochs=2, batch_size=64, lr=0.02),
    adversarial_steps=1,
    epsilon=0.2,
    bits=2,
    levels=4,
)
SCALES = {
    "smoke": BrokenPlan(
        sets={"digits": _DIGITS},
        images=12,
        decision_images=1,
        sign_images=12,
        steps=2,
        adaptive_steps=3,
        draws=2,
        decision_steps=1,
        sign_queries=3,
    ),
    "quick": BrokenPlan(sets={"mnist": _MNIST}, images=100, decision_images=20),
    "full": BrokenPlan(sets={"mnist": _MNIST, "cifar10": _CIFAR10}),
}
