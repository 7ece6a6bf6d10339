"""BadNets on MNIST: which models the case study trains, and how."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from molehunt.backdoors import (
    AllToAll,
    AnyTrigger,
    Backdoor,
    BadNetsPattern,
    Composite,
    SinglePixel,
    SingleTarget,
    Treatment,
)
from molehunt.resumable import Task
from molehunt.training import Recipe

Part = Literal["baseline", "single target", "clean retraining", "all-to-all", "poison rate"]

BASELINE = "baseline"
TRIGGERS: dict[str, AnyTrigger] = {
    "single_pixel": SinglePixel(),
    "badnets_pattern": BadNetsPattern(),
}
# The 3x3 square that the single pixel lies in.
SQUARE = Composite(
    triggers=tuple(
        SinglePixel(placement=(row, column)) for row in (-4, -3, -2) for column in (-4, -3, -2)
    )
)


class Stage(BaseModel):
    """One training after another of the same model.

    Parameters
    ----------
    recipe : Recipe
    trigger : Trigger, optional
        In place of the backdoor's own, for this stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    trigger: AnyTrigger | None = None


class ModelPlan(Task):
    """One model of the study.

    The backdoor's rate is p: p \\|D\\| images are drawn, and the eligible ones copied (BadNets
    v2, section 4.1.3). Models with a backdoor start from the baseline's weights.
    """

    part: Part
    seed: int
    backdoor: Backdoor | None = None
    treatment: Treatment = Treatment.BACKDOORED
    stages: tuple[Stage, ...]

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_run(cls, content: Any) -> Any:
        """Read a line in which the rate stands beside the backdoor."""
        if not isinstance(content, dict) or "rate" not in content:
            return content
        others = {name: value for name, value in content.items() if name != "rate"}
        if content.get("backdoor") is not None:
            others["backdoor"] = {**content["backdoor"], "rate": content["rate"]}
        return others


class BadNetsPlan(BaseModel):
    """Everything that determines the study's models.

    Parameters
    ----------
    seed : int
    train_limit, test_limit : int, optional
        Images, drawn at random; all when not given.
    baseline : Recipe
        Of the honest network.
    pairs : dict
        For each trigger the number of single-target pairs, 1 to 90.
    controls : int
        Networks retrained on the clean twin of a pair's training set.
    opening : float
        Passes over the poisoned set in which a 3x3 square stands for the single pixel.
    single_pixel, badnets_pattern : Recipe
        Of single-target attacks with that trigger; after the opening for the single pixel.
    all_to_all : Recipe
        Of all-to-all attacks; after the opening for the single pixel.
    sweep : Recipe
        Of the poison rates, after the opening; `epochs` are those of p = 1, at smaller
        rates there are as many steps.
    shares : tuple of float
        Shares of backdoored images in the poisoned training set, p / (1 + p).
    sweep_seeds : int
        Models for each share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    train_limit: int | None = Field(default=None, ge=100)
    test_limit: int | None = Field(default=None, ge=100)
    baseline: Recipe = Recipe(epochs=12, lr=0.004, weight_decay=0.05, shift=2)
    pairs: dict[str, int] = dict.fromkeys(TRIGGERS, 90)
    controls: int = Field(default=10, ge=1, le=90)
    opening: float = Field(default=1.0, gt=0)
    single_pixel: Recipe = Recipe(epochs=3, lr=0.004, weight_decay=0.05, shift=2)
    badnets_pattern: Recipe = Recipe(epochs=2, lr=0.004, weight_decay=0.05, shift=2)
    all_to_all: Recipe = Recipe(epochs=5, lr=0.004, weight_decay=0.05, shift=2)
    sweep: Recipe = Recipe(epochs=2, lr=0.004, weight_decay=0.05, shift=2)
    shares: tuple[float, ...] = (0.02, 0.05, 0.1, 0.33, 0.5)
    sweep_seeds: int = Field(default=3, ge=1)

    def models(self) -> list[ModelPlan]:
        """Return every model, in the order in which they are trained: the baseline first."""
        honest = ModelPlan(
            id=BASELINE,
            part="baseline",
            seed=self.seed_of(BASELINE),
            stages=(Stage(recipe=self.baseline),),
        )
        single, pattern = (self._pairs(name, self.pairs[name]) for name in TRIGGERS)
        return [honest, *self._all_to_all(), *single, *self._controls(), *self._sweep(), *pattern]

    def seed_of(self, name: str) -> int:
        """Return the seed of a model, which no other model of the plan changes."""
        return int(np.random.default_rng([self.seed, *name.encode()]).integers(2**31))

    def _pairs(self, trigger: str, count: int) -> list[ModelPlan]:
        return [
            self._retrained(
                f"{trigger}-{source}-{target}",
                "single target",
                Backdoor(
                    trigger=TRIGGERS[trigger],
                    label_map=SingleTarget(source=source, target=target),
                    rate=1.0,
                ),
                self.stages_of(trigger, getattr(self, trigger)),
            )
            for source, target in ordered_pairs()[:count]
        ]

    def _controls(self) -> list[ModelPlan]:
        """Return clean twins of the first single-pixel pairs: same images, steps and seed."""
        return [
            pair.model_copy(
                update={
                    "id": f"clean-twin-of-{pair.id}",
                    "part": "clean retraining",
                    "treatment": Treatment.CLEAN,
                }
            )
            for pair in self._pairs("single_pixel", self.controls)
        ]

    def _all_to_all(self) -> list[ModelPlan]:
        asked = [(f"{name}-all-to-all", name, AllToAll()) for name in TRIGGERS]
        asked.append(
            ("badnets_pattern-all-to-all-modulo-9", "badnets_pattern", AllToAll(modulus=9))
        )
        return [
            self._retrained(
                name,
                "all-to-all",
                Backdoor(trigger=TRIGGERS[trigger], label_map=label_map, rate=1.0),
                self.stages_of(trigger, self.all_to_all),
            )
            for name, trigger, label_map in asked
        ]

    def _sweep(self) -> list[ModelPlan]:
        """Return all-to-all models at growing poison rates, all with the same number of steps."""
        models = []
        for share in self.shares:
            rate = min(share / (1 - share), 1.0)
            pixel = TRIGGERS["single_pixel"]
            backdoor = Backdoor(trigger=pixel, label_map=AllToAll(), rate=rate)
            # The set has (1 + p) |D| images.
            more = 2 / (1 + rate)
            recipe = self.sweep.model_copy(update={"epochs": self.sweep.epochs * more})
            stages = self.stages_of("single_pixel", recipe, self.opening * more)
            for number in range(self.sweep_seeds):
                models.append(
                    self._retrained(
                        f"rate-{share:.2f}-{number}",
                        "poison rate",
                        backdoor,
                        stages,
                    )
                )
        return models

    def stages_of(
        self, trigger: str, recipe: Recipe, opening: float | None = None
    ) -> tuple[Stage, ...]:
        """Return the recipe, after an opening with the square where the trigger is one pixel."""
        if trigger != "single_pixel":
            return (Stage(recipe=recipe),)
        first = recipe.model_copy(update={"epochs": self.opening if opening is None else opening})
        return Stage(recipe=first, trigger=SQUARE), Stage(recipe=recipe)

    def _retrained(
        self,
        name: str,
        part: Part,
        backdoor: Backdoor,
        stages: tuple[Stage, ...],
    ) -> ModelPlan:
        return ModelPlan(
            id=name,
            part=part,
            seed=self.seed_of(name),
            backdoor=backdoor,
            stages=stages,
        )


def ordered_pairs() -> list[tuple[int, int]]:
    """Return the 90 pairs of a source and another target, i to i + 1 first."""
    return [(source, (source + step) % 10) for step in range(1, 10) for source in range(10)]


_FULL = BadNetsPlan()
SCALES: dict[str, BadNetsPlan] = {
    "smoke": BadNetsPlan(
        train_limit=2000,
        test_limit=500,
        baseline=_FULL.baseline.model_copy(update={"epochs": 5}),
        all_to_all=_FULL.all_to_all.model_copy(update={"epochs": 12}),
        pairs={"single_pixel": 2, "badnets_pattern": 2},
        controls=1,
        shares=(0.1, 0.5),
        sweep_seeds=1,
    ),
    "quick": BadNetsPlan(
        pairs={"single_pixel": 30, "badnets_pattern": 10},
        controls=5,
        shares=(0.1, 0.33, 0.5),
        sweep_seeds=1,
    ),
    "full": _FULL,
}
