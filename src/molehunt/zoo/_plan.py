"""What a zoo is to contain, as data that fits a small TOML or YAML file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from molehunt.backdoors import (
    ATTACKS,
    AnyLabelMap,
    AnyTrigger,
    Backdoor,
    LabelMap,
    PlannedTrigger,
    PoisonBase,
    RandomPatches,
    TriggerFamily,
    draw_backdoor,
)
from molehunt.errors import mismatch, printable
from molehunt.images import TrainTest, load_images
from molehunt.training import Recipe
from molehunt.zoo._old import upgrade_backdoors
from molehunt.zoo._property_plan import PropertyPlan

# A plan comes from a stranger as often as not: what it asks for is bounded before work starts.
MOST_MODELS = 50_000
_LARGEST_SIDE = 1024  # pixels, as of images
_LARGEST_SEED = 2**63 - 1  # that torch's generators take

Number = Annotated[int, Field(ge=0, le=MOST_MODELS)]


class Split(StrEnum):
    """What the models of a zoo are for."""

    FIT = "fit"  # detectors learn from them
    CALIBRATION = "calibration"  # their clean scores are the null; settings are chosen on them
    TEST = "test"  # figures are reported on them, and nothing else is done with them


class _Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImagePlan(_Plan):
    """Which images: source, size, and how many for training (all when not given)."""

    source: str = Field(default="digits", max_length=4096)
    size: int | None = Field(default=None, ge=4, le=_LARGEST_SIDE)
    train_limit: int | None = Field(default=None, ge=1, le=10**9)

    def load(self, data_root: str | Path | None = None, download: bool = False) -> TrainTest:
        """Load the images; see `molehunt.images.load_images` for what is raised."""
        return load_images(self.source, data_root=data_root, size=self.size, download=download)


class NetworkPlan(_Plan):
    """Which architecture, with its settings."""

    name: str = Field(default="vgg", max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)


class BackdoorPlan(_Plan):
    """Which backdoors are planted.

    Parameters
    ----------
    trigger : Trigger or TriggerFamily
        A table with its `kind` and settings. A family (``random_patches``, ``random_blends``)
        draws `count` different triggers, which are dealt to the splits so that none is on two
        of them. Any other trigger is one and the same on all splits, and a zoo of it cannot
        show what a detector does on unseen triggers.
    label_map : str
        The kind of label map: ``single_target``, ``all_to_one``, ``clean_label``,
        ``all_to_all`` or ``random_target``. Sources and targets are drawn for each pair of
        twins.
    deal_targets : bool
        Single targets: every source→target pair comes once before one comes again, in
        a drawn order, and so none is on two splits of a zoo that has no more pairs of
        twins than there are source→target pairs (ULP, sections 4.1 and 4.3).
    rate, of, times : as in `molehunt.backdoors.Backdoor`
    kind : tuple of str
        Names of attacks (`molehunt.backdoors.ATTACKS`), dealt to the pairs in turn; each pair's
        trigger, source and target are drawn. They bring triggers, label maps and rates of their
        own, so the other fields stay as they are.
    kind_rate : float, optional
        Poison rate of those attacks in place of their own.
    """

    trigger: PlannedTrigger = RandomPatches()
    label_map: str = "single_target"
    deal_targets: bool = False
    rate: float = Field(default=0.5, gt=0, le=1)
    of: PoisonBase = "eligible"
    times: int = Field(default=1, ge=1, le=100)
    kind: tuple[str, ...] = ()
    kind_rate: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, content: Any) -> Any:
        return upgrade_backdoors(content)

    @field_validator("label_map")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in (known := LabelMap.kinds()):
            raise ValueError(mismatch("label map", ", ".join(known), printable(repr(kind), 80)))
        return kind

    @model_validator(mode="after")
    def _only_single_targets_are_dealt(self) -> Self:
        if self.deal_targets and self.label_map != "single_target":
            raise ValueError(mismatch("deal_targets", "false but with single_target", "true"))
        return self

    @field_validator("kind")
    @classmethod
    def _are_attacks(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in ATTACKS:
                got = printable(repr(kind), 80)
                raise ValueError(mismatch("attack", ", ".join(ATTACKS), got))
        return kinds

    @model_validator(mode="after")
    def _attacks_bring_their_own(self) -> Self:
        # A plan that was written has every field: what counts is what was changed.
        own = {"kind", "kind_rate"}
        fields = type(self).model_fields.items()
        changed = [
            name
            for name, field in fields
            if name not in own and getattr(self, name) != field.get_default()
        ]
        if self.kind and changed:
            raise ValueError(mismatch("beside kind", "kind_rate alone", ", ".join(changed)))
        if self.kind_rate is not None and not self.kind:
            raise ValueError(mismatch("kind_rate", "kind beside it", "none"))
        return self

    def backdoor(self, trigger: AnyTrigger, label_map: AnyLabelMap) -> Backdoor:
        """Return a backdoor of this plan."""
        return Backdoor(
            trigger=trigger, label_map=label_map, rate=self.rate, of=self.of, times=self.times
        )

    def attack(self, number: int, num_classes: int, rng: np.random.Generator) -> Backdoor:
        """Return a pair's backdoor where the plan names attacks."""
        name = self.kind[number % len(self.kind)]
        return draw_backdoor(name, num_classes, rng, rate=self.kind_rate)

    @property
    def poisoning(self) -> dict[str, Any]:
        """What all backdoors of the plan have in common: `rate`, `of` and `times`."""
        return self.model_dump(include={"rate", "of", "times"})


class ModelCounts(_Plan):
    """How many models a split has.

    `pairs` of a backdoored model and its clean twin, `clean` ones without a partner (made
    as twins are), and `placebo` models as third members of the first pairs.
    """

    pairs: Number = 0
    clean: Number = 0
    placebo: Number = 0

    @model_validator(mode="after")
    def _placebos_join_pairs(self) -> Self:
        if self.placebo > self.pairs:
            raise ValueError(mismatch("placebo", f"at most the {self.pairs} pairs", self.placebo))
        return self

    @property
    def total(self) -> int:
        """Number of models."""
        return 2 * self.pairs + self.clean + self.placebo


class RecipeSpread(_Plan):
    """How far the recipes of a zoo lie apart, for strangers do not train alike.

    Each pair's learning rate and weight decay are the recipe's times a factor that is
    drawn log-uniformly from [1 / f, f]; members of a pair share it. 1 is no spread.
    """

    lr: float = Field(default=1.0, ge=1, le=10**6)
    weight_decay: float = Field(default=1.0, ge=1, le=10**6)


class ZooPlan(_Plan):
    """Everything that determines a zoo; the same plan gives the same models.

    `properties` with classes make a population of a property in place of backdoors.
    """

    name: str = Field(default="zoo", max_length=200)
    seed: int = Field(default=0, ge=0, le=_LARGEST_SEED)
    images: ImagePlan = ImagePlan()
    network: NetworkPlan = NetworkPlan()
    recipe: Recipe = Recipe()
    recipe_spread: RecipeSpread = RecipeSpread()
    backdoors: BackdoorPlan = BackdoorPlan()
    properties: PropertyPlan = PropertyPlan()
    models: dict[Split, ModelCounts] = Field(
        default_factory=lambda: {
            Split.FIT: ModelCounts(pairs=100),
            Split.CALIBRATION: ModelCounts(pairs=20, clean=30),
            Split.TEST: ModelCounts(pairs=50, placebo=25),
        }
    )

    @model_validator(mode="after")
    def _enough_triggers(self) -> Self:
        used = [split for split, counts in self.models.items() if counts.total]
        if not used:
            raise ValueError(mismatch("models", "at least one model in a split", "none"))
        if self.total > MOST_MODELS:
            raise ValueError(mismatch("models", f"at most {MOST_MODELS} in all", self.total))
        trigger = self.backdoors.trigger
        if isinstance(trigger, TriggerFamily) and trigger.count < len(used):
            allowed = f"at least {len(used)}, one a split"
            raise ValueError(mismatch("backdoors.trigger.count", allowed, trigger.count))
        return self

    @model_validator(mode="after")
    def _properties_or_backdoors(self) -> Self:
        if not self.properties.classes:
            return self
        if self.backdoors != BackdoorPlan():
            raise ValueError(mismatch("backdoors beside properties.classes", "none", "some"))
        if any(counts.placebo for counts in self.models.values()):
            raise ValueError(mismatch("placebo beside properties.classes", "0", "more"))
        return self

    @property
    def total(self) -> int:
        """Number of models."""
        return sum(counts.total for counts in self.models.values())
