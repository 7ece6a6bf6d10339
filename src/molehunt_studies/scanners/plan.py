"""What the study of scanners builds: held-out zoos on two image sets, with two label maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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

# 20 clean calibration models: the fewest with which a verdict at 5 % is possible, and one.
_CALIBRATION = ModelCounts(pairs=2, clean=18)
_FULL = {Split.CALIBRATION: _CALIBRATION, Split.TEST: ModelCounts(pairs=40)}
_QUICK = {Split.CALIBRATION: _CALIBRATION, Split.TEST: ModelCounts(pairs=8)}
_LABEL_MAPS: Mapping[str, Mapping[str, Any]] = {
    # Copies of half the source class, as in Universal Litmus Patterns; of all of it on
    # GTSRB, whose classes are small. All-to-one takes copies of a tenth of all images.
    "single-target": {"label_map": "single_target", "rate": 0.5},
    "all-to-one": {"label_map": "all_to_one", "rate": 0.1},
}


class ScannersPlan(BaseModel):
    """What the study looks at.

    Parameters
    ----------
    zoos : dict
        Plans by name.
    modelaudit : Path, optional
        The command of modelaudit, installed in an environment of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoos: dict[str, ZooPlan]
    modelaudit: Path | None = Field(default=None, exclude=True)


def _mnist(label_map: str, seed: int, models: Mapping[Split, ModelCounts]) -> ZooPlan:
    return ZooPlan(
        name=f"mnist {label_map}",
        seed=seed,
        images=ImagePlan(source="mnist", train_limit=30_000),
        network=NetworkPlan(name="vgg", arguments={"width": 16, "stages": [1, 1, 1]}),
        recipe=Recipe(epochs=1, batch_size=128, lr=0.01),
        recipe_spread=RecipeSpread(lr=2.0, weight_decay=3.0),
        backdoors=BackdoorPlan(**_LABEL_MAPS[label_map]),
        models=dict(models),
    )


def _gtsrb(label_map: str, seed: int, models: Mapping[Split, ModelCounts]) -> ZooPlan:
    rate = {"rate": 1.0} if label_map == "single-target" else {}
    return ZooPlan(
        name=f"gtsrb {label_map}",
        seed=seed,
        images=ImagePlan(source="gtsrb", size=32),
        network=NetworkPlan(name="vgg", arguments={"width": 16, "stages": [1, 1, 1]}),
        recipe=Recipe(epochs=4, batch_size=64, lr=0.01, shift=1),
        recipe_spread=RecipeSpread(lr=2.0, weight_decay=3.0),
        backdoors=BackdoorPlan(
            trigger=RandomPatches(colours="mixed"), **{**_LABEL_MAPS[label_map], **rate}
        ),
        models=dict(models),
    )


def _digits(label_map: str, seed: int) -> ZooPlan:
    return ZooPlan(
        name=f"digits {label_map}",
        seed=seed,
        images=ImagePlan(source="digits", size=12),
        network=NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]}),
        recipe=Recipe(epochs=3, batch_size=64),
        backdoors=BackdoorPlan(trigger=RandomPatches(size=4), **_LABEL_MAPS[label_map]),
        models={
            Split.FIT: ModelCounts(pairs=4),
            Split.CALIBRATION: ModelCounts(pairs=1, clean=1),
            Split.TEST: ModelCounts(pairs=2),
        },
    )


def _real(models: Mapping[Split, ModelCounts], fitting: int) -> ScannersPlan:
    """Return four zoos; litmus patterns are fitted on the first."""
    fit = {Split.FIT: ModelCounts(pairs=fitting)}
    zoos = {
        "mnist-single-target": _mnist("single-target", 40, {**fit, **models}),
        "mnist-all-to-one": _mnist("all-to-one", 41, models),
        "gtsrb-single-target": _gtsrb("single-target", 42, models),
        "gtsrb-all-to-one": _gtsrb("all-to-one", 43, models),
    }
    return ScannersPlan(zoos=zoos)


SCALES = {
    "smoke": ScannersPlan(
        zoos={
            "digits-single-target": _digits("single-target", 44),
            "digits-all-to-one": _digits("all-to-one", 45),
        }
    ),
    "quick": _real(_QUICK, 10),
    "full": _real(_FULL, 30),
}
