"""Which populations the study of augmentation builds, and what it fits on them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors import RandomPatches
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

OWN, OTHER = "own", "other"  # the zoo that is fitted on, and that of a network that is not
PLAIN = "none"
# A weak and a strong setting of each; the calibration models choose.
_KINDS: dict[str, tuple[dict[str, Any], ...]] = {
    "mask": ({"augment": {"mask": 0.05}}, {"augment": {"mask": 0.1}}),
    "noise": ({"augment": {"noise": 0.1}}, {"augment": {"noise": 0.3}}),
    "dropout": ({"dropout": 0.1}, {"dropout": 0.3}),
}


class AugmentationPlan(BaseModel):
    """One image set.

    Parameters
    ----------
    zoo : ZooPlan
        Models to fit on, to choose on and to test on.
    other : ZooPlan
        Test models of a network that was not fitted.
    sizes : tuple of int
        Numbers of models to fit on: pairs of twins, drawn anew for each seed.
    chosen_at : int
        The size at which each kind's setting is chosen, by the calibration models.
    kinds : dict
        Settings of `LitmusPatterns` to choose from, by kind.
    litmus : dict
        Its other settings.
    seeds : int
        Fits of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoo: ZooPlan
    other: ZooPlan
    sizes: tuple[int, ...] = (8, 16, 32, 64, 128)
    chosen_at: int = Field(default=32, ge=2)
    kinds: dict[str, tuple[dict[str, Any], ...]] = _KINDS
    litmus: dict[str, Any] = {}
    seeds: int = Field(default=3, ge=1)

    @property
    def zoos(self) -> dict[str, ZooPlan]:
        """Both zoos by the names of their folders."""
        return {OWN: self.zoo, OTHER: self.other}


def _plan(
    base: ZooPlan, resnet: dict[str, int], counts: tuple[int, int, int, int], **settings: Any
) -> AugmentationPlan:
    """Return a plan of so many pairs to fit, choose and test on, and of the other network."""
    fit, calibration, test, other = counts
    split = {Split.FIT: fit, Split.CALIBRATION: calibration, Split.TEST: test}
    models = {part: ModelCounts(pairs=pairs) for part, pairs in split.items()}
    return AugmentationPlan(
        zoo=base.model_copy(update={"models": models}),
        other=base.model_copy(
            update={
                "name": f"{base.name}, resnet",
                "seed": base.seed + 100,
                "network": NetworkPlan(name="resnet", arguments=resnet),
                "models": {Split.TEST: ModelCounts(pairs=other)},
            }
        ),
        **settings,
    )


def _digits(epochs: int) -> ZooPlan:
    return ZooPlan(
        name="digits, augmentation",
        seed=80,
        images=ImagePlan(source="digits", size=12),
        network=NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]}),
        # Chosen on a zoo of another seed, so that backdoors take (success over 0.8) and patterns
        # that were fitted on 16 models are not at 1 yet: larger patches are found by all fits.
        recipe=Recipe(epochs=epochs, batch_size=64, lr=0.01, weight_decay=0.017, noise=0.2),
        recipe_spread=RecipeSpread(lr=2.0, weight_decay=6.0),
        backdoors=BackdoorPlan(trigger=RandomPatches(size=3), rate=1.0),
    )


def _photos(
    source: str, seed: int, recipe: Recipe, rate: float, train_limit: int | None = None
) -> ZooPlan:
    size = None if source == "mnist" else 32
    return ZooPlan(
        name=f"{source}, augmentation",
        seed=seed,
        images=ImagePlan(source=source, size=size, train_limit=train_limit),
        network=NetworkPlan(name="vgg", arguments={"width": 16, "stages": [1, 1, 1]}),
        recipe=recipe,
        recipe_spread=RecipeSpread(lr=2.0, weight_decay=3.0),
        backdoors=BackdoorPlan(
            trigger=RandomPatches(colours="binary" if source == "mnist" else "mixed"), rate=rate
        ),
    )


_TRIAL = _plan(
    _digits(1),
    {"width": 4, "blocks": 1},
    (3, 2, 3, 2),
    sizes=(4, 6),
    chosen_at=4,
    kinds={"mask": _KINDS["mask"]},
    litmus={"n_patterns": 2, "epochs": 2},
    seeds=2,
)
_FULL = _plan(_digits(6), {"width": 4, "blocks": 1}, (64, 20, 40, 20))
_RESNET = {"width": 8, "blocks": 1}
_PHOTOS = {
    "mnist": _photos("mnist", 81, Recipe(epochs=1, batch_size=64, lr=0.01), 0.5, 20_000),
    "gtsrb": _photos("gtsrb", 82, Recipe(epochs=3, batch_size=64, lr=0.0085, shift=1), 1.0),
    "cifar10": _photos("cifar10", 83, Recipe(epochs=3, batch_size=64, lr=0.01), 0.5, 20_000),
}
SCALES: dict[str, dict[str, AugmentationPlan]] = {
    "digits": {"trial": _TRIAL, "full": _FULL},
    **{
        name: {"trial": _TRIAL, "gpu": _plan(zoo, _RESNET, (64, 12, 30, 15))}
        for name, zoo in _PHOTOS.items()
    },
}
