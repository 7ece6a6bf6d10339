"""The defences of the study, and what the attacker has to do about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from molehunt.defences import (
    BitDepth,
    Defended,
    FractalLayer,
    JpegCompression,
    OutputNoise,
    RandomFeatures,
    RandomResizing,
    ScaledLogits,
    ThermometerCode,
    TotalVariation,
    drop_at_test_time,
)
from molehunt.networks import Classifier
from molehunt_studies.broken_defences.networks import BrokenBench
from molehunt_studies.broken_defences.plan import Network, SetPlan

Wrap = Callable[[Classifier, SetPlan, int], Classifier]


@dataclass(frozen=True)
class Defence:
    """One row of the study's table.

    Parameters
    ----------
    title : str
    wrap : callable
        From a network, the set's plan and a seed to the defended model.
    network : str
        Which network stands behind it.
    hides : bool
        Whether a part of it has no useful gradient, and knows an approximation.
    random : bool
    paper : str
        The key of the paper's number; empty where it has none of the kind.
    """

    title: str
    wrap: Wrap
    network: Network = "plain"
    hides: bool = False
    random: bool = False
    paper: str = ""


def _thermometer(model: Classifier, plan: SetPlan, _seed: int) -> Classifier:
    channels, height, width = model.card.input_shape
    shape = (channels // plan.levels, height, width)
    return Defended(model, before=ThermometerCode(levels=plan.levels), input_shape=shape)


def _variation(model: Classifier, plan: SetPlan, seed: int) -> Classifier:
    minimisation = TotalVariation(
        keep=plan.keep, weight=plan.variation, steps=plan.variation_steps, seed=seed
    )
    return Defended(model, before=minimisation)


def _as_it_is(model: Classifier, _plan: SetPlan, _seed: int) -> Classifier:
    return model


DEFENCES: dict[str, Defence] = {
    "none": Defence("no defence", _as_it_is),
    "bit-depth": Defence(
        "reduced bit depth",
        lambda model, plan, _: Defended(model, before=BitDepth(bits=plan.bits)),
        hides=True,
        paper="guo",
    ),
    "thermometer": Defence(
        "thermometer code", _thermometer, "thermometer", hides=True, paper="buckman"
    ),
    "jpeg": Defence(
        "JPEG",
        lambda model, plan, _: Defended(model, before=JpegCompression(quality=plan.quality)),
        hides=True,
        paper="guo",
    ),
    "total-variation": Defence(
        "total variation minimisation", _variation, hides=True, random=True, paper="guo"
    ),
    "fractal": Defence(
        "fractal layer",
        lambda model, plan, _: Defended(model, before=FractalLayer(amplitude=plan.amplitude)),
        hides=True,
    ),
    "scaled": Defence(
        "logits times 1,000",
        lambda model, _plan, _: Defended(model, after=ScaledLogits(factor=1000.0)),
    ),
    "distillation": Defence("defensive distillation", _as_it_is, "distilled"),
    "noise": Defence(
        "noise on the logits",
        lambda model, plan, seed: Defended(model, after=OutputNoise(scale=plan.noise, seed=seed)),
        random=True,
    ),
    "resizing": Defence(
        "random resizing and padding",
        lambda model, plan, seed: Defended(
            model, before=RandomResizing(smallest=plan.smallest, seed=seed)
        ),
        random=True,
        paper="xie",
    ),
    "features": Defence(
        "random features",
        lambda model, plan, seed: Defended(
            model, before=RandomFeatures(keep=plan.features, seed=seed)
        ),
        "features",
        random=True,
    ),
    "dropout": Defence(
        "dropout at test time",
        lambda model, plan, seed: drop_at_test_time(model, rate=plan.rate, seed=seed),
        random=True,
        paper="dhillon",
    ),
    "adversarial": Defence("adversarial training", _as_it_is, "adversarial", paper="madry"),
}


def defended(bench: BrokenBench, images: str, name: str, seed: int) -> Classifier:
    """Return a finished network behind a defence that draws from a generator of its own."""
    defence = DEFENCES[name]
    model = bench.network(images, defence.network)
    return defence.wrap(model, bench.plan.sets[images], seed).freeze()
