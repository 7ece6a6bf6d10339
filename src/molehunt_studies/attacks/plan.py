"""Which population the study of attacks and detectors builds, and which detectors read it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors import ATTACKS
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


class AttacksPlan(BaseModel):
    """A population of named attacks, and the detectors that judge it.

    Parameters
    ----------
    zoo : ZooPlan
        Its ``backdoors.kind`` are the attacks, dealt to the pairs in turn.
    learning : mapping
        Settings of the detectors that learn from models, by registered name. Each is fitted
        once on all attacks, and once without each of them.
    others : mapping
        Settings of the detectors that learn nothing; they are calibrated alone.
    rate : float
        Share of clean models that may be called backdoored.
    least_success : float
        A backdoor that succeeds less often did not take, and is not counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoo: ZooPlan
    learning: dict[str, dict[str, int | str]]
    others: dict[str, dict[str, int | str]]
    rate: float = Field(default=0.05, gt=0, lt=1)
    least_success: float = Field(default=0.8, ge=0, le=1)


def _zoo(
    attacks: tuple[str, ...], models: dict[Split, ModelCounts], size: int, epochs: int
) -> ZooPlan:
    return ZooPlan(
        name="digits, every named attack",
        seed=61,
        images=ImagePlan(source="digits", size=size),
        network=NetworkPlan(name="vgg", arguments={"width": 8, "stages": [1, 1, 1]}),
        recipe=Recipe(
            epochs=epochs, batch_size=64, lr=0.01, weight_decay=0.017, shift=1, noise=0.4
        ),
        recipe_spread=RecipeSpread(lr=2.0, weight_decay=6.0),
        backdoors=BackdoorPlan(kind=attacks),
        models=models,
    )


SCALES = {
    "trial": AttacksPlan(
        zoo=_zoo(
            ("patch", "blend"),
            {
                Split.FIT: ModelCounts(pairs=4),
                Split.CALIBRATION: ModelCounts(pairs=2, clean=17),
                Split.TEST: ModelCounts(pairs=4),
            },
            size=8,
            epochs=1,
        ),
        learning={"statistics": {}},
        others={"final-layer": {}},
        least_success=0.0,
    ),
    # 8, 1 and 16 backdoored models of each attack, each with its clean twin.
    "full": AttacksPlan(
        zoo=_zoo(
            ATTACKS,
            {
                Split.FIT: ModelCounts(pairs=8 * len(ATTACKS)),
                Split.CALIBRATION: ModelCounts(pairs=len(ATTACKS), clean=30),
                Split.TEST: ModelCounts(pairs=16 * len(ATTACKS)),
            },
            size=16,
            epochs=14,
        ),
        learning={
            "litmus": {"device": "cpu"},
            "noise": {"device": "cpu"},
            "statistics": {},
            "unit-statistics": {},
        },
        others={"margin": {"starts": 2, "steps": 50, "device": "cpu"}, "final-layer": {}},
    ),
}
