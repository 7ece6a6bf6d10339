"""Which networks are tested, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors import AllToOne, Backdoor, RandomPatch
from molehunt.training import Recipe

# DeepXplore's three networks for MNIST (Pei et al. 2017, table 1).
LENETS: Mapping[str, Mapping[str, Any]] = {
    "lenet-1": {"channels": [4, 12], "hidden": []},
    "lenet-4": {"channels": [6, 16], "hidden": [84]},
    "lenet-5": {"channels": [6, 16], "hidden": [120, 84]},
}
# The network that corner cases and searches look at, for each set. Nobody looked at a result
# when these were chosen.
_NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "mnist": ("lenet", LENETS["lenet-5"]),
    "gtsrb": ("vgg", {"width": 8, "stages": [1, 1, 1]}),
    "cifar10": ("vgg", {"width": 8, "stages": [1, 1, 1]}),
    "digits": ("lenet", {"channels": [4, 8], "hidden": [16]}),
}
# Of twins: a small network, and another architecture.
TWIN: tuple[str, Mapping[str, Any]] = ("lenet", {"channels": [4, 8], "hidden": [32]})
OTHER: tuple[str, Mapping[str, Any]] = ("mlp", {"hidden": [64]})
BACKDOOR = Backdoor(
    trigger=RandomPatch(size=3, seed=1, placement="bottom right"),
    label_map=AllToOne(target=7),
    rate=0.1,
)


class TestingPlan(BaseModel):
    """Everything that determines the study.

    Parameters
    ----------
    seed : int
    sets : tuple of str
        On which corner cases, boundary and coverage are measured; the first is DeepXplore's.
    searched : tuple of str
        On which random and guided searches are compared.
    train_images, epochs : int
        Of every network but the twins.
    count : int
        Test images for corner cases and coverage.
    boundary : int
        Test images whose distance to the boundary is measured, and lines between classes.
    differences : int
        Test images from which differences are searched, for each constraint.
    seeds, passes, replicates : int
        Test images of a search, its forward passes, and how often it is repeated with other
        images.
    calibration, pairs, others : int
        Clean twins that set the threshold, pairs of a backdoored and a clean twin, and networks
        of the other architecture.
    twin_images, twin_epochs : int
        Their training.
    compared, changed, steps : int
        Test images on which twins are compared, images that are changed until they disagree,
        and steps of that.
    cifar10 : str
        Where CIFAR-10 comes from, in place of torchvision's layout (``folder:PATH``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    __test__ = False  # no test class, whatever its name says

    seed: int = Field(default=0, ge=0)
    sets: tuple[str, ...] = ("mnist", "gtsrb", "cifar10")
    searched: tuple[str, ...] = ("mnist", "gtsrb")
    train_images: int = Field(default=8000, ge=100)
    epochs: int = Field(default=4, ge=1)
    count: int = Field(default=500, ge=10)
    boundary: int = Field(default=100, ge=10)
    differences: int = Field(default=100, ge=10)
    seeds: int = Field(default=200, ge=10)
    passes: int = Field(default=2000, ge=20)
    replicates: int = Field(default=10, ge=2)
    calibration: int = Field(default=20, ge=2)
    pairs: int = Field(default=10, ge=1)
    others: int = Field(default=10, ge=1)
    twin_images: int = Field(default=3000, ge=100)
    twin_epochs: int = Field(default=3, ge=1)
    compared: int = Field(default=1000, ge=20)
    changed: int = Field(default=40, ge=5)
    steps: int = Field(default=15, ge=1)
    cifar10: str = Field(default="cifar10", exclude=True)

    @property
    def first(self) -> str:
        """The set of DeepXplore's networks and of the twins."""
        return self.sets[0]

    def source(self, name: str) -> str:
        """Return where a data set comes from."""
        return self.cifar10 if name == "cifar10" else name

    def network(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """Return the architecture of a set's network, and its settings."""
        return _NETWORKS[name]

    def recipe(self) -> Recipe:
        """Return how networks are trained."""
        return Recipe(epochs=self.epochs, batch_size=64, lr=0.005)

    def twin_recipe(self) -> Recipe:
        """Return how twins are trained."""
        return Recipe(epochs=self.twin_epochs, batch_size=64, lr=0.01)


SCALES = {
    "trial": TestingPlan(
        sets=("digits",),
        searched=("digits",),
        train_images=700,
        epochs=10,
        count=60,
        boundary=10,
        differences=15,
        seeds=40,
        passes=150,
        replicates=2,
        calibration=2,
        pairs=1,
        others=1,
        twin_images=500,
        twin_epochs=4,
        compared=60,
        changed=6,
        steps=6,
    ),
    "quick": TestingPlan(
        train_images=2500,
        count=200,
        boundary=40,
        differences=30,
        seeds=100,
        passes=700,
        replicates=6,
        calibration=10,
        others=5,
        twin_images=1500,
        changed=30,
        steps=12,
    ),
    "full": TestingPlan(),
}
