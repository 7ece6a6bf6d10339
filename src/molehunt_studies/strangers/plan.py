"""What the study of strangers' models scans: populations of left-out networks, and files."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from molehunt.errors import InvalidRequestError, mismatch
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

_KINDS = ("all-to-one", "all-to-one, blended", "source-target")
# No setting of a check was chosen on models of these architectures.
_NETWORKS = {
    "resnet": NetworkPlan(name="resnet", arguments={"width": 12}),
    "zf": NetworkPlan(name="zf", arguments={"width": 0.25, "hidden": 256}),
}
_TRIAL = {"small": NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]})}
_RECIPES = {
    "mnist": Recipe(epochs=2, batch_size=128, lr=0.005),
    "cifar10": Recipe(epochs=8, batch_size=128, lr=0.005, shift=2),
    "gtsrb": Recipe(epochs=8, batch_size=64, lr=0.005, shift=1),
}
_SEED = 3000


class StrangersPlan(BaseModel):
    """What is scanned, and how.

    Parameters
    ----------
    images : tuple of str
        Of ``mnist``, ``cifar10``, ``gtsrb``; ``digits`` for a trial.
    pairs : int
        Backdoored models with their clean twins for each images, network and kind.
    twins : int
        Of a scan, as ``molehunt scan --twins``.
    clean_images : int
        That a scan is given; with 0 it has the file alone.
    only : tuple of str
        Names of the populations that are built and scanned, as ``mnist-zf-source-target``;
        all where there is none. A later run with more of them goes on in the same folder.
    cifar10 : str
        Where CIFAR-10 comes from, in place of torchvision's layout (``folder:PATH``).
    foreign : Path, optional
        A folder of strangers' files: ``models/``, ``index.json`` with ``file``, ``dataset``,
        ``truth`` and ``contract`` of each, and the modules that the contracts name, which
        are imported.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tuple[str, ...] = ("mnist", "cifar10", "gtsrb")
    networks: tuple[str, ...] = tuple(_NETWORKS)
    kinds: tuple[str, ...] = _KINDS
    pairs: int = Field(default=3, ge=1)
    twins: int = Field(default=19, ge=1)
    clean_images: int = Field(default=1000, ge=0)
    only: tuple[str, ...] = Field(default=(), exclude=True)
    cifar10: str = Field(default="cifar10", exclude=True)
    foreign: Path | None = Field(default=None, exclude=True)

    def cells(self) -> list[tuple[str, str, str]]:
        """Return images, network and kind of backdoor of every population, scanned or not."""
        return [(i, n, k) for i in self.images for n in self.networks for k in self.kinds]

    def populations(self) -> dict[tuple[str, str, str], ZooPlan]:
        """Return the plan of each population by images, network and kind of backdoor.

        Raises
        ------
        InvalidRequestError
            If `only` names one that there is not.
        """
        cells = self.cells()
        names = [zoo_name(*cell) for cell in cells]
        unknown = [name for name in self.only if name not in names]
        if unknown:
            raise InvalidRequestError(mismatch("only", ", ".join(names), ", ".join(unknown)))
        return {
            cell: self._population(*cell, _SEED + at)
            for at, (cell, name) in enumerate(zip(cells, names, strict=True))
            if not self.only or name in self.only
        }

    def zoos(self) -> dict[str, ZooPlan]:
        """Return the populations by the names of their folders."""
        return {zoo_name(*cell): zoo for cell, zoo in self.populations().items()}

    def source(self, images: str) -> ImagePlan:
        """Return where images come from, at the networks' size."""
        if images == "digits":
            return ImagePlan(source="digits", size=12)
        source = self.cifar10 if images == "cifar10" else images
        return ImagePlan(source=source, size=None if images == "mnist" else 32)

    def _population(self, images: str, network: str, kind: str, seed: int) -> ZooPlan:
        limits = {"mnist": 20_000, "cifar10": 15_000}
        return ZooPlan(
            name=f"{images} {network} {kind}",
            seed=seed,
            images=self.source(images).model_copy(update={"train_limit": limits.get(images)}),
            network={**_NETWORKS, **_TRIAL}[network],
            recipe=_RECIPES.get(images, Recipe(epochs=3, batch_size=64)),
            recipe_spread=RecipeSpread(lr=2.0, weight_decay=3.0),
            backdoors=BackdoorPlan(**KINDS[kind]),
            models={Split.TEST: ModelCounts(pairs=self.pairs)},
        )


SCALES = {
    "smoke": StrangersPlan(
        images=("digits",),
        networks=tuple(_TRIAL),
        kinds=("all-to-one",),
        pairs=1,
        twins=2,
        clean_images=100,
    ),
    "quick": StrangersPlan(images=("mnist",), kinds=("all-to-one", "source-target"), pairs=1),
    # Strangers' files alone, for `--set foreign=FOLDER`.
    "files": StrangersPlan(images=()),
    "full": StrangersPlan(),
}
