"""What the study of Universal Litmus Patterns builds: zoos of the paper's three protocols.

The base zoo of a set is that of the paper's Table 1. Variants differ from it in one
thing each: how much was poisoned (Figure 4), or what the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from molehunt.backdoors import RandomBlends, RandomPatches, Sticker
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

BASE = "base"
_SPREAD = RecipeSpread(lr=2.0, weight_decay=3.0)
_VGG = {"width": 16, "stages": [1, 1, 1]}
_SEEDS = 10_000  # between draws: more than between the zoos of one


def _name_searches(searches: Any) -> Any:
    """Read ``a,b`` or ``none``, as a command line has them."""
    if isinstance(searches, str):
        return () if searches == "none" else tuple(searches.split(","))
    return searches


class UlpPlan(BaseModel):
    """One image set at one scale.

    Parameters
    ----------
    base : ZooPlan
    setting : str
        In words, what the models are, and what was reduced against the paper.
    all_rates : dict of str to ZooPlan
        Zoos of test models by poison ratio, in percent ("25").
    all_variants : dict of str to ZooPlan
        Zoos whose models have what those of the base have not; with a few fitting
        models each, for what mixing them in is worth.
    ablation_pairs : int
        Fitting pairs of the ablations.
    curve : tuple of int
        Fitting pairs of the learning curve, before all of them.
    search_settings : dict of str to settings
        Of the detectors without a zoo that run on the base zoo and those of the rates.
    images : str, optional
        Where the images come from, in place of torchvision's layout (``folder:PATH``).
    draw : int
        0, or another to see what other models and triggers give.
    table_only : bool
        Leave out poison ratios and variants; a later run without it goes on with them.
    searches : tuple of str
        Which searches for triggers to run, the slow part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: ZooPlan
    setting: str
    all_rates: dict[str, ZooPlan] = {}
    all_variants: dict[str, ZooPlan] = {}
    ablation_pairs: int = 100
    curve: tuple[int, ...] = (10, 25, 50, 100, 200, 400)
    search_settings: dict[str, dict[str, Any]] = {"pairwise": {}, "neural-cleanse": {}}
    images: str | None = None
    draw: int = 0
    table_only: bool = Field(default=False, exclude=True)
    searches: Annotated[tuple[str, ...], BeforeValidator(_name_searches)] = Field(
        default=("pairwise", "neural-cleanse"), exclude=True
    )

    @property
    def rates(self) -> dict[str, ZooPlan]:
        """The zoos of `all_rates` that this run builds."""
        return {} if self.table_only else self.all_rates

    @property
    def variants(self) -> dict[str, ZooPlan]:
        """The zoos of `all_variants` that this run builds."""
        return {} if self.table_only else self.all_variants

    @property
    def rate_zoos(self) -> dict[str, str]:
        """The names of the zoos of `rates`, by poison ratio."""
        return {percent: f"poison-{percent}" for percent in self.rates}

    @property
    def zoos(self) -> dict[str, ZooPlan]:
        """All zoos by the names of their folders."""
        rates = {self.rate_zoos[percent]: plan for percent, plan in self.rates.items()}
        return {BASE: self.base, **rates, **self.variants}


def prepare(plan: UlpPlan) -> UlpPlan:
    """Return the plan with the zoos of its draw and of its images.

    Raises
    ------
    InvalidRequestError
        For a negative draw or a search that there is not.
    """
    if plan.draw < 0:
        raise InvalidRequestError(mismatch("draw", "0 or more", plan.draw))
    unknown = sorted(set(plan.searches) - set(plan.search_settings))
    if unknown:
        allowed = ", ".join(plan.search_settings)
        raise InvalidRequestError(mismatch("searches", allowed, ", ".join(unknown)))

    def drawn(zoo: ZooPlan) -> ZooPlan:
        images = zoo.images.model_copy(update={"source": plan.images or zoo.images.source})
        return zoo.model_copy(update={"images": images, "seed": zoo.seed + _SEEDS * plan.draw})

    return plan.model_copy(
        update={
            "base": drawn(plan.base),
            "all_rates": {name: drawn(zoo) for name, zoo in plan.all_rates.items()},
            "all_variants": {name: drawn(zoo) for name, zoo in plan.all_variants.items()},
        }
    )


def _counts(fit: int, test: int, placebo: int) -> dict[Split, ModelCounts]:
    # 20 clean calibration models: the fewest with which a verdict at 5 % is possible, and one.
    return {
        Split.FIT: ModelCounts(pairs=fit),
        Split.CALIBRATION: ModelCounts(pairs=10, clean=10),
        Split.TEST: ModelCounts(pairs=test, placebo=placebo),
    }


def _mnist_base(models: Mapping[Split, ModelCounts], train_limit: int | None) -> ZooPlan:
    """Section 4.1: binary triggers in random corners; every pair of classes alike often."""
    return ZooPlan(
        name="ulp mnist",
        seed=60,
        images=ImagePlan(source="mnist", train_limit=train_limit),
        network=NetworkPlan(name="vgg", arguments=_VGG),
        recipe=Recipe(epochs=1, batch_size=64, lr=0.01),
        recipe_spread=_SPREAD,
        backdoors=BackdoorPlan(deal_targets=True, rate=0.5),
        models=dict(models),
    )


def _cifar10_base(models: Mapping[Split, ModelCounts], epochs: float) -> ZooPlan:
    """Section 4.2: binary and colour triggers in random corners."""
    return ZooPlan(
        name="ulp cifar10",
        seed=61,
        images=ImagePlan(source="cifar10", size=32),
        network=NetworkPlan(name="vgg", arguments=_VGG),
        recipe=Recipe(epochs=epochs, batch_size=64, lr=0.01),
        recipe_spread=_SPREAD,
        backdoors=BackdoorPlan(trigger=RandomPatches(colours="mixed"), deal_targets=True, rate=0.5),
        models=dict(models),
    )


def _gtsrb_base(models: Mapping[Split, ModelCounts], epochs: float, times: int) -> ZooPlan:
    """Section 4.3: triggers on the sign's surface; no source→target pair comes twice."""
    return ZooPlan(
        name="ulp gtsrb",
        seed=62,
        images=ImagePlan(source="gtsrb", size=32),
        network=NetworkPlan(name="stn-vgg", arguments={**_VGG, "stn_width": 8}),
        # Rates of 0.005 to 0.014: of the networks with a transformer that were trained with
        # 0.014 to 0.02, one in twenty did not learn to classify, and no attacker ships such a one.
        recipe=Recipe(epochs=epochs, batch_size=64, lr=0.0085, shift=1),
        recipe_spread=RecipeSpread(lr=1.6, weight_decay=_SPREAD.weight_decay),
        backdoors=BackdoorPlan(
            trigger=RandomPatches(placement="anywhere", margin=_SIGN_MARGIN, colours="mixed"),
            deal_targets=True,
            rate=1.0,
            times=times,
        ),
        models=dict(models),
    )


def _variant(base: ZooPlan, number: int, name: str, fit: int, test: int, **changes: Any) -> ZooPlan:
    """Return a zoo that differs from the base in some settings, and in every draw.

    Its seed is its own, and so are its triggers: the base's detectors were fitted on none. Its
    source→target pairs are drawn anew, and a sticker is the same on all splits.
    """
    parts = {
        part: {**getattr(base, part).model_dump(), **values} for part, values in changes.items()
    }
    counts = {Split.FIT: ModelCounts(pairs=fit)} if fit else {}
    return ZooPlan.model_validate(
        {
            **base.model_dump(),
            **parts,
            "name": f"{base.name}, {name}",
            "seed": base.seed + 100 * number,
            "models": {**counts, Split.TEST: ModelCounts(pairs=test)},
        }
    )


def _patches_of(base: ZooPlan) -> RandomPatches:
    assert isinstance(base.backdoors.trigger, RandomPatches), "all bases have random patches"
    return base.backdoors.trigger


def _resize(base: ZooPlan, size: int) -> dict[str, Any]:
    """Return what makes the base's patches another size."""
    return {"trigger": _patches_of(base).model_copy(update={"size": size})}


def _rates(base: ZooPlan, test: int) -> dict[str, ZooPlan]:
    """Figure 4: the same attack with fewer copies."""
    seeds = {"50": 5, "25": 1, "12": 2, "5": 3, "1": 4}
    rates = {percent: int(percent) / 100 for percent in seeds}
    return {
        percent: _variant(
            base, seeds[percent], f"poison {percent} %", 0, test, backdoors={"rate": rate}
        )
        for percent, rate in rates.items()
        if rate < base.backdoors.rate
    }


def _variants(base: ZooPlan, fit: int, test: int) -> dict[str, ZooPlan]:
    """What the paper leaves open: other triggers, label maps and networks."""
    # Maps with more than one source copy a share of all of them.
    many = {"deal_targets": False, "rate": 0.1}
    patches = _patches_of(base)
    sticker = Sticker(picture="flower", size=7, placement=patches.placement, margin=patches.margin)
    changes: dict[str, dict[str, Any]] = {
        "size-3": {"backdoors": _resize(base, 3)},
        "size-7": {"backdoors": _resize(base, 7)},
        "size-9": {"backdoors": _resize(base, 9)},
        "blended": {"backdoors": {"trigger": RandomBlends(opacity=0.2)}},
        "sticker": {"backdoors": {"trigger": sticker}},
        "all-to-one": {"backdoors": {"label_map": "all_to_one", **many}},
        "all-to-all": {"backdoors": {"label_map": "all_to_all", **many}},
        "width-8": {"network": {"arguments": {**_VGG, "width": 8}}},
        "width-32": {"network": {"arguments": {**_VGG, "width": 32}}},
        "deeper": {"network": {"arguments": {**_VGG, "stages": [2, 2, 2]}}},
        "resnet": {"network": {"name": "resnet", "arguments": {"width": 8}}},
    }
    return {
        name: _variant(base, 10 + number, name, fit, test, **change)
        for number, (name, change) in enumerate(changes.items())
    }


def _whole(base: ZooPlan, setting: str, rated: int, varied: tuple[int, int], pairs: int) -> UlpPlan:
    """Return a plan with test pairs at other rates, and fitting and test pairs of variants."""
    return UlpPlan(
        base=base,
        setting=setting,
        all_rates=_rates(base, rated),
        all_variants=_variants(base, *varied),
        ablation_pairs=pairs,
    )


def _mnist_quick() -> UlpPlan:
    base = _mnist_base(
        {
            Split.FIT: ModelCounts(pairs=280),
            Split.CALIBRATION: ModelCounts(pairs=20),
            Split.TEST: ModelCounts(pairs=100, placebo=40),
        },
        train_limit=20_000,
    )
    setting = (
        "VGG-like networks of width 16, each trained once over 20,000 images of its own draw "
        "(the paper does not say how its networks were trained); 300 pairs of twins to learn "
        "from and calibrate on and 100 to test on, where the paper has 450 and 450"
    )
    return _whole(base, setting, 15, (5, 15), 100)


def _mnist_full() -> UlpPlan:
    base = _mnist_base(_counts(440, 450, 100), train_limit=None)
    setting = "VGG-like networks of width 16, each trained once over all 60,000 images"
    return _whole(base, setting, 100, (20, 50), 440)


def _cifar10_quick() -> UlpPlan:
    setting = (
        "VGG-like networks of width 16, each trained for 3 epochs; 110 pairs of twins to learn "
        "from and calibrate on and 40 to test on, where the paper has 400 and 100"
    )
    return UlpPlan(base=_cifar10_base(_counts(100, 40, 20), epochs=3), setting=setting)


def _cifar10_full() -> UlpPlan:
    base = _cifar10_base(_counts(390, 100, 50), epochs=12)
    setting = "VGG-like networks of width 16, each trained for 12 epochs"
    return _whole(base, setting, 50, (20, 30), 390)


_SIGN_MARGIN = 6  # signs fill the middle of their images, up to a border of about a tenth
# 1,806 pairs in place of 90, 43 targets in place of 10: each pair gets a quarter of the
# images that it has elsewhere, each target half of them.
_MANY_CLASSES: dict[str, dict[str, Any]] = {
    # Where the zoo's triggers are drawn, as for the other sets: there it is the default.
    "pairwise": {
        "steps": 40,
        "images_per_step": 4,
        "placement": "anywhere",
        "margin": _SIGN_MARGIN,
    },
    "neural-cleanse": {"images_per_step": 8},
}


def _gtsrb_quick() -> UlpPlan:
    # Measured on a third of the public set, 50 to 830 images a class, each copied once: of 56
    # backdoors whose source class has at most 200, 34 had a success under 90 %.
    base = _gtsrb_base(_counts(100, 40, 20), epochs=3, times=3)
    setting = (
        "VGG-like networks of width 16 behind a spatial transformer, each trained for 3 epochs "
        "at 32x32 pixels with three copies of each poisoned image (chosen on a third of the public "
        "set); 110 pairs of twins to learn from and calibrate on and 40 to test on, "
        "where the paper has 500 and 500"
    )
    return UlpPlan(base=base, setting=setting, search_settings=_MANY_CLASSES)


def _gtsrb_full() -> UlpPlan:
    base = _gtsrb_base(_counts(490, 500, 100), epochs=10, times=1)
    setting = (
        "VGG-like networks of width 16 behind a spatial transformer, each trained for 10 epochs"
    )
    plan = _whole(base, setting, 50, (20, 30), 490)
    return plan.model_copy(update={"search_settings": _MANY_CLASSES})


def _smoke() -> UlpPlan:
    base = ZooPlan(
        name="ulp digits",
        seed=63,
        images=ImagePlan(source="digits", size=12),
        network=NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]}),
        recipe=Recipe(epochs=3, batch_size=64),
        backdoors=BackdoorPlan(trigger=RandomPatches(size=4), deal_targets=True),
        models={
            Split.FIT: ModelCounts(pairs=4),
            Split.CALIBRATION: ModelCounts(pairs=1, clean=1),
            Split.TEST: ModelCounts(pairs=2, placebo=1),
        },
    )
    return UlpPlan(
        base=base,
        setting="tiny networks on scikit-learn's digits: a test of the machinery, without meaning",
        all_rates={"25": _variant(base, 1, "poison 25 %", 0, 2, backdoors={"rate": 0.25})},
        all_variants={
            "size-3": _variant(base, 10, "size-3", 1, 2, backdoors=_resize(base, 3)),
            "width-6": _variant(
                base, 11, "width-6", 1, 2, network={"arguments": {"width": 6, "stages": [1, 1]}}
            ),
        },
        ablation_pairs=4,
        curve=(2,),
        search_settings={
            "pairwise": {"steps": 8, "images_per_class": 4, "size": 4},
            "neural-cleanse": {"steps": 20, "images_per_class": 4},
        },
    )


# ``full`` is the paper's size, ``quick`` what two cores carry, ``smoke`` a test of the machinery.
SCALES = {
    "mnist": {"smoke": _smoke(), "quick": _mnist_quick(), "full": _mnist_full()},
    "cifar10": {"smoke": _smoke(), "quick": _cifar10_quick(), "full": _cifar10_full()},
    "gtsrb": {"smoke": _smoke(), "quick": _gtsrb_quick(), "full": _gtsrb_full()},
}
