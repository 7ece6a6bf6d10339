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


# Chosen on two networks an attack, of other seeds, so that most attacks take. Under noise as an
# augmentation only patches and blends did.
_RECIPES = {
    "digits": Recipe(epochs=24, batch_size=64, lr=0.01, shift=1),
    "gtsrb": Recipe(epochs=8, batch_size=64, lr=0.01, shift=1),
    "cifar10": Recipe(epochs=8, batch_size=64, lr=0.01, shift=1),
}
_WIDTHS = {"digits": 12, "gtsrb": 8, "cifar10": 8}
# On digits sig and refool never took: a sinusoid or reflection on half of one class's images
# is not needed to learn that class.
_DIGIT_ATTACKS = tuple(name for name in ATTACKS if name not in ("sig", "refool"))
# What takes on 4,000 images of 43 classes within 8 passes; warps, quantised and clean-label
# images do not (success under 0.5), pieces of a blend do not in all (0.4 to 0.7).
_PHOTO_ATTACKS = ("patch", "blend", "low-frequency", "ftrojan", "tact", "mixed-label", "adap-patch")


def _zoo(
    images: ImagePlan, attacks: tuple[str, ...], models: dict[Split, ModelCounts], seed: int
) -> ZooPlan:
    network = {"width": _WIDTHS[images.source], "stages": [1, 1, 1]}
    return ZooPlan(
        name=f"{images.source}, named attacks",
        seed=seed,
        images=images,
        network=NetworkPlan(name="vgg", arguments=network),
        recipe=_RECIPES[images.source],
        recipe_spread=RecipeSpread(lr=2.0, weight_decay=6.0),
        backdoors=BackdoorPlan(kind=attacks),
        models=models,
    )


def _full(
    images: ImagePlan, attacks: tuple[str, ...], seed: int, *, fit: int, placebo: int
) -> AttacksPlan:
    """Return a plan with so many pairs to fit on and placebos an attack, and 15 pairs to test on.

    One pair an attack and 30 clean models calibrate.
    """
    counts = {
        Split.FIT: ModelCounts(pairs=fit * len(attacks)),
        Split.CALIBRATION: ModelCounts(pairs=len(attacks), clean=30),
        Split.TEST: ModelCounts(pairs=15 * len(attacks), placebo=placebo * len(attacks)),
    }
    return AttacksPlan(
        zoo=_zoo(images, attacks, counts, seed),
        learning={"litmus": {}, "noise": {}, "statistics": {}, "unit-statistics": {}},
        others={"margin": {"starts": 2, "steps": 50}, "final-layer": {}},
    )


def _photos(source: str, seed: int) -> AttacksPlan:
    images = ImagePlan(source=source, size=32, train_limit=4000)
    return _full(images, _PHOTO_ATTACKS, seed, fit=12, placebo=4)


_TRIAL = AttacksPlan(
    zoo=_zoo(
        ImagePlan(source="digits", size=8, train_limit=200),
        ("patch", "wanet"),
        {
            Split.FIT: ModelCounts(pairs=4),
            Split.CALIBRATION: ModelCounts(pairs=2, clean=2),
            Split.TEST: ModelCounts(pairs=4, placebo=2),
        },
        seed=60,
    ).model_copy(update={"recipe": Recipe(epochs=1)}),
    learning={"statistics": {}},
    others={"final-layer": {}},
    rate=0.25,  # four clean calibration models allow no less
    least_success=0.0,
)
_DIGITS = _full(ImagePlan(source="digits", size=16), _DIGIT_ATTACKS, 61, fit=8, placebo=5)
SCALES = {
    "digits": {"trial": _TRIAL, "full": _DIGITS},
    "gtsrb": {"trial": _TRIAL, "full": _photos("gtsrb", 62)},
    "cifar10": {"trial": _TRIAL, "full": _photos("cifar10", 63)},
}
