"""What attackers and defenders of the study of adaptive attackers do."""

from __future__ import annotations

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

ALL = "litmus + margin + statistics"


class AdaptivePlan(BaseModel):
    """A population, attackers who know a detector, and what the defender does then.

    Parameters
    ----------
    zoo : ZooPlan
        Detectors are fitted and calibrated on it; its clean test models are what false alarms
        and AUC are measured against. Attackers plant its backdoored test models' backdoors.
    evaded : tuple of str
        Detectors that an attacker knows: ``litmus``, ``margin``, ``statistics``, or several
        of them, as ``litmus + margin``.
    strengths : tuple of float
        Weight of the detector beside the cross entropy; 0 is the zoo's own test models.
    attackers : int
        Backdoors of each detector and strength.
    lessons : int
        Evading models that the defender adds to the fit, of backdoors of the fitting part.
    lesson_strength : float
        Theirs, and that of the attackers on the new detector.
    epochs : int
        Of litmus patterns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoo: ZooPlan
    evaded: tuple[str, ...] = ("litmus", "margin", "statistics", ALL)
    strengths: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0)
    attackers: int = Field(default=8, ge=2)
    lessons: int = Field(default=12, ge=1)
    lesson_strength: float = 1.0
    epochs: int = 30


def _zoo(fit: int, calibration: int, test: int, epochs: int, seed: int) -> ZooPlan:
    return ZooPlan(
        name="digits, for adaptive attackers",
        seed=seed,
        images=ImagePlan(source="digits", size=16),
        network=NetworkPlan(name="vgg", arguments={"width": 8, "stages": [1, 1, 1]}),
        recipe=Recipe(
            epochs=epochs, batch_size=64, lr=0.01, weight_decay=0.017, shift=1, noise=0.4
        ),
        recipe_spread=RecipeSpread(lr=2.0, weight_decay=6.0),
        backdoors=BackdoorPlan(
            trigger=RandomPatches(count=120, size=5), label_map="all_to_one", rate=0.1
        ),
        models={
            Split.FIT: ModelCounts(pairs=fit),
            Split.CALIBRATION: ModelCounts(pairs=2, clean=calibration),
            Split.TEST: ModelCounts(pairs=test),
        },
    )


SCALES = {
    "trial": AdaptivePlan(
        zoo=_zoo(fit=4, calibration=18, test=3, epochs=1, seed=41),
        evaded=("litmus", "statistics", "litmus + statistics"),
        strengths=(0.0, 1.0),
        attackers=2,
        lessons=2,
        epochs=2,
    ),
    "full": AdaptivePlan(zoo=_zoo(fit=30, calibration=38, test=12, epochs=14, seed=41)),
}
