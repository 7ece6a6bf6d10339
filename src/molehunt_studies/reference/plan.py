"""The reference population: architectures, image sets, kinds of backdoors and recipes, mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe
from molehunt.zoo import (
    BackdoorPlan,
    ImagePlan,
    ModelCounts,
    NetworkPlan,
    RecipeSpread,
    Split,
    ZooPlan,
)
from molehunt_studies._populations import KINDS, zoo_name

NAMED = "named attacks"
# Two a population.
_ATTACKS = ("wanet", "sig", "bpp", "low-frequency", "refool", "tact", "adap-blend", "adap-patch")
_NETWORKS = {
    "vgg": NetworkPlan(name="vgg", arguments={"width": 8}),
    "resnet": NetworkPlan(name="resnet", arguments={"width": 8}),
    "lenet": NetworkPlan(name="lenet"),
    "badnets-mnist": NetworkPlan(name="badnets-mnist"),
}
_LIMITS = {"digits": None, "mnist": 6_000, "cifar10": 8_000, "gtsrb": 8_000}
_EPOCHS = {"digits": 10, "mnist": 3, "cifar10": 5, "gtsrb": 4}
# Three ways to train, dealt to the populations in turn; rates and decay are drawn around them.
_RECIPES: tuple[Mapping[str, Any], ...] = (
    {"lr": 0.005},
    {"lr": 0.005, "shift": 2, "label_smoothing": 0.1},
    {"optimizer": "sgd", "lr": 0.05, "weight_decay": 5e-4, "noise": 0.05},
)
_SEED = 9000


class ReferencePlan(BaseModel):
    """What the population is made of.

    Parameters
    ----------
    images : tuple of str
        Of ``digits``, ``mnist``, ``cifar10``, ``gtsrb``.
    networks, kinds : tuple of str
    pairs : int
        Backdoored models with their clean twins for each images, network and kind.
    epochs : float
        Times the usual number of passes over the images.
    cifar10 : str
        Where CIFAR-10 comes from, in place of torchvision's layout (``folder:PATH``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tuple[str, ...] = tuple(_LIMITS)
    networks: tuple[str, ...] = tuple(_NETWORKS)
    kinds: tuple[str, ...] = (*KINDS, NAMED)
    pairs: int = Field(default=2, ge=1)
    epochs: float = Field(default=1.0, gt=0)
    cifar10: str = Field(default="cifar10", exclude=True)

    def cells(self) -> list[tuple[str, str, str]]:
        """Return images, network and kind of backdoor of every population."""
        return [(i, n, k) for i in self.images for n in self.networks for k in self.kinds]

    def populations(self) -> dict[tuple[str, str, str], ZooPlan]:
        """Return the plan of each population by images, network and kind of backdoor."""
        return {cell: self._population(*cell, at) for at, cell in enumerate(self.cells())}

    def zoos(self) -> dict[str, ZooPlan]:
        """Return the populations by the names of their folders."""
        return {zoo_name(*cell): zoo for cell, zoo in self.populations().items()}

    def _population(self, images: str, network: str, kind: str, at: int) -> ZooPlan:
        first = 2 * at % len(_ATTACKS)
        backdoors = KINDS.get(kind, {"kind": _ATTACKS[first : first + 2]})
        epochs = self.epochs * _EPOCHS[images]
        return ZooPlan(
            name=f"{images} {network} {kind}",
            seed=_SEED + at,
            images=self._source(images),
            network=_NETWORKS[network],
            recipe=Recipe(epochs=epochs, batch_size=64, **_RECIPES[at % len(_RECIPES)]),
            recipe_spread=RecipeSpread(lr=2.0, weight_decay=3.0),
            backdoors=BackdoorPlan(**backdoors),
            models={Split.TEST: ModelCounts(pairs=self.pairs)},
        )

    def _source(self, images: str) -> ImagePlan:
        source = self.cifar10 if images == "cifar10" else images
        size = {"digits": 16, "mnist": None}.get(images, 32)
        return ImagePlan(source=source, size=size, train_limit=_LIMITS[images])


SCALES = {
    "smoke": ReferencePlan(
        images=("digits",),
        networks=("lenet", "badnets-mnist"),
        kinds=("all-to-one", "source-target"),
        pairs=1,
        epochs=0.3,
    ),
    "quick": ReferencePlan(images=("digits", "mnist"), pairs=1),
    "full": ReferencePlan(),
}
