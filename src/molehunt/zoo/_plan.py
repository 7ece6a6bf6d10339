"""What a zoo is to contain, as data that fits a small TOML or YAML file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from molehunt.backdoors import PictureName, Placement, PoisonBase
from molehunt.errors import refused
from molehunt.images import TrainTest, load_images
from molehunt.training import Recipe

# A plan comes from a stranger as often as not: what it asks for is bounded before work starts.
MOST_MODELS = 50_000
_MOST_TRIGGERS = 10_000
_LARGEST_SIDE = 1024  # pixels, as of images
_MOST_TRIGGER_PIXELS = 50_000_000  # in all drawn patches of a plan
_LARGEST_SEED = 2**63 - 1  # that torch's generators take

Side = Annotated[int, Field(ge=1, le=_LARGEST_SIDE)]
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


TriggerName = Literal["random_patch", "single_pixel", "badnets_pattern", "sticker", "blended"]


class BackdoorPlan(_Plan):
    """Which backdoors are planted.

    Parameters
    ----------
    trigger : {"random_patch", "single_pixel", "badnets_pattern", "sticker", "blended"}
        ``random_patch`` and ``blended`` draw `count` different ones, which are dealt to the
        splits so that none is on two of them. The others are one and the same on all
        splits, and a zoo of them cannot show what a detector does on unseen triggers.
    count : for random patches and blended noise
    size, sizes, colours : for random patches; `sizes`, where given, are taken in turn
    path, picture : for stickers, one of the two: a file, or the name of one of our own
    size : for stickers
    opacity : of stickers; the pattern's share (alpha) of blended noise, under 1
    placement, margin : where the trigger goes; the trigger's own default when not given
    label_map : {"single_target", "all_to_one", "all_to_all", "random_target"}
        Sources and targets are drawn for each pair of twins.
    deal_targets : bool
        Single targets: every source→target pair comes once before one comes again, in
        a drawn order, and so none is on two splits of a zoo that has no more pairs of
        twins than there are source→target pairs (ULP, sections 4.1 and 4.3).
    rate, of, times : poison rate, what it counts, and how often each image is copied, as in
        `molehunt.backdoors.Backdoor.poison`
    """

    trigger: TriggerName = "random_patch"
    count: int = Field(default=20, ge=1, le=_MOST_TRIGGERS)
    size: Side = 5
    sizes: tuple[Side, ...] = Field(default=(), max_length=100)
    colours: Literal["binary", "colour", "mixed"] = "binary"
    path: Path | None = None
    picture: PictureName | None = None
    opacity: float = Field(default=1.0, gt=0, le=1)
    placement: Placement | None = None
    margin: int = Field(default=0, ge=0, le=_LARGEST_SIDE)
    label_map: Literal["single_target", "all_to_one", "all_to_all", "random_target"] = (
        "single_target"
    )
    deal_targets: bool = False
    rate: float = Field(default=0.5, gt=0, le=1)
    of: PoisonBase = "eligible"
    times: int = Field(default=1, ge=1, le=100)

    @model_validator(mode="after")
    def _sticker_has_one_picture(self) -> Self:
        given = [str(source) for source in (self.path, self.picture) if source is not None]
        if len(given) != (self.trigger == "sticker"):
            allowed = "one picture for a sticker, nothing otherwise"
            raise ValueError(refused("path, picture", allowed, " and ".join(given) or "none"))
        return self

    @model_validator(mode="after")
    def _patches_can_be_drawn(self) -> Self:
        largest = max(self.sizes, default=self.size)
        most = _MOST_TRIGGER_PIXELS // largest**2
        if self.trigger == "random_patch" and self.count > most:
            raise ValueError(
                refused("count", f"at most {most} of {largest}x{largest} pixels", self.count)
            )
        return self

    @model_validator(mode="after")
    def _blended_leaves_the_image(self) -> Self:
        if self.trigger == "blended" and self.opacity == 1:
            raise ValueError(refused("opacity", "under 1 for blended noise", self.opacity))
        return self

    @model_validator(mode="after")
    def _only_single_targets_are_dealt(self) -> Self:
        if self.deal_targets and self.label_map != "single_target":
            raise ValueError(refused("deal_targets", "false but with single_target", "true"))
        return self


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
            raise ValueError(refused("placebo", f"at most the {self.pairs} pairs", self.placebo))
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
    """Everything that determines a zoo; the same plan gives the same models."""

    name: str = Field(default="zoo", max_length=200)
    seed: int = Field(default=0, ge=0, le=_LARGEST_SEED)
    images: ImagePlan = ImagePlan()
    network: NetworkPlan = NetworkPlan()
    recipe: Recipe = Recipe()
    recipe_spread: RecipeSpread = RecipeSpread()
    backdoors: BackdoorPlan = BackdoorPlan()
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
            raise ValueError(refused("models", "at least one model in a split", "none"))
        if self.total > MOST_MODELS:
            raise ValueError(refused("models", f"at most {MOST_MODELS} in all", self.total))
        drawn = self.backdoors.trigger in ("random_patch", "blended")
        if drawn and self.backdoors.count < len(used):
            raise ValueError(
                refused(
                    "backdoors.count", f"at least {len(used)}, one a split", self.backdoors.count
                )
            )
        return self

    @property
    def total(self) -> int:
        """Number of models."""
        return sum(counts.total for counts in self.models.values())
