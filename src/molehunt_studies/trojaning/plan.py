"""What is trojaned, and how: data sets, variants of the attack, a population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from molehunt.attacks import MaskShape
from molehunt.backdoors import RandomPatches
from molehunt.training import Recipe
from molehunt.zoo import BackdoorPlan, ImagePlan, ModelCounts, NetworkPlan, Split, ZooPlan

Lessons = Literal["reversed", "rough", "training"]


class _Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Plan):
    """A data set, the network that is trojaned, and images from elsewhere.

    Parameters
    ----------
    images : str
        As in `molehunt.images.load_images`.
    size : int
    grey : bool
        Whether colours are made grey.
    people : int, optional
        Only so many of the classes; the others are the external images.
    external : str, optional
        A source of images of other kinds or from another place.
    network : NetworkPlan
    recipe : Recipe
    train_limit : int, optional
    target : int
        The trojan's.
    layer : int
        Of the neurons, counted from the end among the layers with neurons.
    per_class : int
        Reverse-engineered images of each class.
    """

    images: str
    size: int
    grey: bool = False
    people: int | None = None
    external: str | None = None
    network: NetworkPlan
    recipe: Recipe
    train_limit: int | None = None
    target: int = 1
    layer: int = -3
    per_class: int = 20


class Variant(_Plan):
    """One way of trojaning.

    Parameters
    ----------
    mask, area, opacity
        As in `molehunt.attacks.trigger_mask`.
    neurons : {"excitable", "weights", "random", "output"}
        How they are chosen; ``output`` is the target's answer.
    lessons : {"reversed", "rough", "training"}
        Reverse-engineered images with the denoising prior, without it, or the training
        images of the same number.
    published : bool
        Retrained on labels alone, as in the paper.
    retrained : bool
        Or only the trigger is made.
    seed : int
    """

    mask: MaskShape = "square"
    area: float = 0.07
    opacity: float = 1.0
    neurons: Literal["excitable", "weights", "random", "output"] = "excitable"
    lessons: Lessons = "reversed"
    published: bool = False
    retrained: bool = True
    seed: int = 0


VARIANTS: Mapping[str, Variant] = {
    "trojan": Variant(),
    "neurons by weights": Variant(neurons="weights"),
    "random neurons": Variant(neurons="random", seed=1),
    "random neurons, again": Variant(neurons="random", seed=2),
    "output neuron, trigger alone": Variant(neurons="output", retrained=False),
    "output neuron": Variant(neurons="output"),
    "no denoising": Variant(lessons="rough"),
    "as published": Variant(neurons="weights", published=True),
    "as published, no denoising": Variant(neurons="weights", published=True, lessons="rough"),
    "training images": Variant(lessons="training"),
    "area 4 %": Variant(area=0.04),
    "area 10 %": Variant(area=0.10),
    "logo": Variant(mask="logo"),
    "watermark": Variant(mask="watermark"),
    "opacity 50 %": Variant(opacity=0.5),
    "watermark, opacity 30 %": Variant(mask="watermark", opacity=0.3),
}
_FEW = ("trojan", "random neurons", "no denoising", "as published", "training images")
_VGG = NetworkPlan(name="vgg", arguments={"width": 16})
SOURCES: Mapping[str, Source] = {
    "mnist": Source(
        images="mnist",
        size=28,
        external="digits",
        network=NetworkPlan(name="vgg", arguments={"width": 8}),
        recipe=Recipe(epochs=3, lr=0.005),
        train_limit=12_000,
        target=1,
        layer=-4,
    ),
    "gtsrb": Source(
        images="gtsrb",
        size=32,
        external="folder:cifar10-folder",
        network=_VGG,
        recipe=Recipe(epochs=8, batch_size=64, lr=0.005, shift=1),
        target=1,
        per_class=4,
    ),
    "faces": Source(
        images="folder:att-faces",
        size=32,
        grey=True,
        people=30,
        network=_VGG,
        recipe=Recipe(epochs=60, batch_size=40, lr=0.005, shift=2),
        target=1,
        per_class=4,
    ),
    "digits": Source(
        images="digits",
        size=12,
        network=NetworkPlan(name="vgg", arguments={"width": 8, "stages": [1, 1]}),
        recipe=Recipe(epochs=8, batch_size=64, lr=0.02),
        target=3,
        per_class=4,
    ),
}


class TrojaningPlan(_Plan):
    """What a scale makes.

    Parameters
    ----------
    variants : mapping
        Names of `VARIANTS`, for each of `SOURCES`.
    test_images : int
        Most that are measured on, of each kind.
    epochs : float
        Of retraining.
    scans : mapping
        Checks that look at each set's own network and at its first trojan.
    scan_images : int
        Clean images that a scan is given.
    population : ZooPlan
        Clean models and BadNets; its clean test models are trojaned as well.
    population_per_class : int
    histogram_images : tuple of int
        Clean images that the check gets; the most first.
    """

    variants: dict[str, tuple[str, ...]] = Field(
        default_factory=lambda: {"mnist": tuple(VARIANTS), "gtsrb": _FEW, "faces": _FEW}
    )
    test_images: int = 2000
    epochs: float = 10
    scans: dict[str, tuple[str, ...]] = Field(
        default_factory=lambda: {
            "mnist": ("final-layer", "margin", "neural-cleanse", "wrong-predictions"),
            "gtsrb": ("final-layer", "margin", "wrong-predictions"),
            "faces": ("final-layer", "margin"),
        }
    )
    scan_images: int = 1000
    population: ZooPlan = ZooPlan(
        name="MNIST, clean models and BadNets",
        seed=2018,
        images=ImagePlan(source="mnist", size=14, train_limit=4000),
        network=NetworkPlan(name="vgg", arguments={"width": 8, "stages": [1, 1]}),
        recipe=Recipe(epochs=3, batch_size=64, lr=0.01),
        backdoors=BackdoorPlan(
            trigger=RandomPatches(size=3, count=40), label_map="all_to_one", rate=0.1
        ),
        models={
            Split.CALIBRATION: ModelCounts(pairs=1, clean=38),
            Split.TEST: ModelCounts(pairs=30),
        },
    )
    population_per_class: int = 10
    histogram_images: tuple[int, ...] = (4000, 1000, 300)


SCALES = {
    "trial": TrojaningPlan(
        variants={"digits": ("trojan", "random neurons", "output neuron, trigger alone")},
        test_images=200,
        epochs=4,
        scans={"digits": ("final-layer", "wrong-predictions")},
        scan_images=200,
        population=ZooPlan(
            name="digits, clean models and BadNets",
            seed=2018,
            images=ImagePlan(source="digits", size=8),
            network=NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]}),
            recipe=Recipe(epochs=2, batch_size=64, lr=0.01),
            backdoors=BackdoorPlan(
                trigger=RandomPatches(size=3, count=4), label_map="all_to_one", rate=0.2
            ),
            models={
                Split.CALIBRATION: ModelCounts(pairs=1, clean=3),
                Split.TEST: ModelCounts(pairs=2),
            },
        ),
        population_per_class=2,
        histogram_images=(450, 100),
    ),
    "quick": TrojaningPlan(
        variants={
            "mnist": (
                "trojan",
                "neurons by weights",
                "random neurons",
                "output neuron, trigger alone",
                "no denoising",
                "as published",
                "training images",
                "watermark",
                "logo",
                "opacity 50 %",
                "area 4 %",
            ),
            "gtsrb": ("trojan",),
            "faces": ("trojan",),
        },
        test_images=1000,
        scans={
            "mnist": ("final-layer", "margin", "neural-cleanse", "wrong-predictions"),
            "gtsrb": ("final-layer", "margin", "wrong-predictions"),
        },
        population=ZooPlan(
            name="digits, clean models and BadNets",
            seed=2018,
            images=ImagePlan(source="digits", size=12),
            network=NetworkPlan(name="vgg", arguments={"width": 8, "stages": [1, 1]}),
            recipe=Recipe(epochs=4, batch_size=64, lr=0.01),
            backdoors=BackdoorPlan(
                trigger=RandomPatches(size=4, count=32), label_map="all_to_one", rate=0.2
            ),
            models={
                Split.CALIBRATION: ModelCounts(pairs=1, clean=29),
                Split.TEST: ModelCounts(pairs=30),
            },
        ),
        population_per_class=6,
        histogram_images=(450, 200),
    ),
    "full": TrojaningPlan(),
}
