"""What the study of Universal Litmus Patterns builds: a zoo of each image set of the paper."""

from __future__ import annotations

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

_SPREAD = RecipeSpread(lr=2.0, weight_decay=3.0)


def mnist_quick() -> ZooPlan:
    return ZooPlan(
        name="ulp mnist",
        seed=60,
        images=ImagePlan(source="mnist", train_limit=20_000),
        network=NetworkPlan(name="vgg", arguments={"width": 16, "stages": [1, 1, 1]}),
        recipe=Recipe(epochs=1, batch_size=64, lr=0.01),
        recipe_spread=_SPREAD,
        backdoors=BackdoorPlan(placement="random corner", deal_targets=True, rate=0.5),
        models={
            Split.FIT: ModelCounts(pairs=280),
            Split.CALIBRATION: ModelCounts(pairs=20),
            Split.TEST: ModelCounts(pairs=100, placebo=40),
        },
    )
