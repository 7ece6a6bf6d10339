"""Which networks are attacked, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.attacks import Norm
from molehunt.resumable import Task
from molehunt.training import Recipe

# VGG-like networks of 16 channels; nobody looked at attacks when these were chosen.
NETWORK: Mapping[str, Any] = {"width": 16, "stages": [1, 1, 1]}
_RECIPES = {
    "mnist": Recipe(epochs=2, lr=0.005),
    "cifar10": Recipe(epochs=5, lr=0.005, shift=2),
    "gtsrb": Recipe(epochs=5, batch_size=64, lr=0.005, shift=1),
}
_TRAIN_LIMITS = {"mnist": 10_000}
# Radii of sweeps in the maximum norm, and the one at which AutoAttack is compared. MNIST's
# bright strokes stand changes that no photograph stands.
_RADII = {"mnist": (0.05, 0.1, 0.15, 0.2, 0.3)}
_USUAL_RADII = (1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255)


class AttackTask(Task):
    """One attack on the network of a data set.

    Parameters
    ----------
    images : str
        The data set.
    attack : str
        Of `molehunt.attacks.ATTACKS`.
    norm : Norm
    epsilons : tuple of float
        Of a sweep; none for an attack that looks for the smallest change.
    count : int
        Images.
    settings : dict
        Of the attack.
    """

    images: str
    attack: str
    norm: Norm
    epsilons: tuple[float, ...] = ()
    count: int
    settings: dict[str, int] = Field(default_factory=dict)


class EvasionPlan(BaseModel):
    """Everything that determines the study.

    Parameters
    ----------
    seed : int
    images : tuple of str
        Of ``mnist``, ``cifar10``, ``gtsrb``; ``digits`` for a trial.
    count, slow_count : int
        Test images for attacks with gradients, and for those that ask thousands of
        questions an image.
    compared : dict
        The radius of AutoAttack for each data set on which it is compared.
    compared_count : int
        Test images for that.
    settings : dict
        For each attack, in place of its usual ones.
    cifar10 : str
        Where CIFAR-10 comes from, in place of torchvision's layout (``folder:PATH``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    images: tuple[str, ...] = ("mnist", "cifar10", "gtsrb")
    count: int = Field(default=100, ge=5)
    slow_count: int = Field(default=20, ge=5)
    # Radii at which some images are left: where all fall, any two programs agree.
    compared: dict[str, float] = {"mnist": 0.15, "cifar10": 4 / 255}
    compared_count: int = Field(default=100, ge=5)
    settings: dict[str, dict[str, int]] = {
        "random-squares": {"queries": 500},
        "boundary": {"steps": 1000},
    }
    cifar10: str = Field(default="cifar10", exclude=True)

    def source(self, images: str) -> str:
        """Return where a data set comes from."""
        return self.cifar10 if images == "cifar10" else images

    def recipe(self, images: str) -> Recipe:
        """Return how the data set's network is trained."""
        return _RECIPES.get(images, Recipe(epochs=4, batch_size=64))

    def train_limit(self, images: str) -> int | None:
        """Return how many training images are used; None for all."""
        return _TRAIN_LIMITS.get(images)

    def attacks(self) -> list[AttackTask]:
        """Return every attack, data set by data set."""
        return [task for images in self.images for task in self._attacks_on(images)]

    def _attacks_on(self, images: str) -> list[AttackTask]:
        radii = _RADII.get(images, _USUAL_RADII)
        fast, slow = self.count, self.slow_count
        kinds: list[tuple[str, Norm, tuple[float, ...], int]] = [
            ("fmn", Norm.LINF, (), fast),
            ("pgd", Norm.LINF, radii, fast),
            ("fgsm", Norm.LINF, radii, fast),
            ("random-squares", Norm.LINF, radii, slow),
            ("fmn", Norm.L2, (), fast),
            ("ddn", Norm.L2, (), fast),
            ("ead", Norm.L2, (), slow),
            ("hopskipjump", Norm.L2, (), slow),
            ("boundary", Norm.L2, (), slow),
            ("fmn", Norm.L0, (), fast),
        ]
        return [
            AttackTask(
                id=f"{images}-{attack}-{norm}",
                images=images,
                attack=attack,
                norm=norm,
                epsilons=epsilons,
                count=count,
                settings=self.settings.get(attack, {}),
            )
            for attack, norm, epsilons, count in kinds
        ]


SCALES = {
    "trial": EvasionPlan(
        images=("digits",),
        count=10,
        slow_count=5,
        compared={"digits": 0.5},
        compared_count=10,
        settings={
            "random-squares": {"queries": 20},
            "pgd": {"steps": 5},
            "fmn": {"steps": 20},
            "ddn": {"steps": 10},
            "ead": {"steps": 10},
            "hopskipjump": {"steps": 1},
            "boundary": {"steps": 20},
        },
    ),
    "full": EvasionPlan(),
}
