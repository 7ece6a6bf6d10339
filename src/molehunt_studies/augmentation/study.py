"""Model augmentation: learning curves and transfer, with and without each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.study import Bench, Report, Stage, Study, ZooStage
from molehunt_studies.augmentation.figures import figures_of
from molehunt_studies.augmentation.fits import (
    ChoiceRecord,
    FitRecord,
    choice_tasks,
    fit_and_test,
    fit_tasks,
    try_setting,
)
from molehunt_studies.augmentation.plan import SCALES, AugmentationPlan
from molehunt_studies.augmentation.results import measures

_NAMES = {
    "digits": "scikit-learn's digits",
    "mnist": "MNIST",
    "gtsrb": "GTSRB",
    "cifar10": "CIFAR-10",
}


def _gain(found: Mapping[str, Any]) -> str:
    """Return a difference with its interval, a dash where there is none."""
    if found["mean"] is None:
        return "-"
    low, high = found["interval"]
    return f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"


def _setting(settings: Mapping[str, Any]) -> str:
    plain = {**settings, **settings.get("augment", {})}
    return ", ".join(f"{name} {value:g}" for name, value in plain.items() if name != "augment")


_REPORT = Report(
    "molehunt_studies.augmentation",
    figures=figures_of,
    words={"names": _NAMES, "gain": _gain, "setting": _setting},
    parts=tuple(_NAMES),
)


def _study(part: str, name: str) -> Study[AugmentationPlan, Bench[AugmentationPlan]]:
    return Study(
        name=name,
        title=f"What augmented fitting models are worth to litmus patterns: {_NAMES[part]}.",
        scales=SCALES[part],
        bench=Bench,
        stages=(
            ZooStage("zoos", lambda bench: bench.plan.zoos),
            Stage("choices", choice_tasks, try_setting, ChoiceRecord),
            Stage("fits", fit_tasks, fit_and_test, FitRecord),
        ),
        measures=measures,
        part=part,
        report=_REPORT,
        unit="models and fits",
    )


AUGMENTATION_DIGITS = _study("digits", "augmentation")
AUGMENTATION_MNIST = _study("mnist", "augmentation-mnist")
AUGMENTATION_GTSRB = _study("gtsrb", "augmentation-gtsrb")
AUGMENTATION_CIFAR10 = _study("cifar10", "augmentation-cifar10")
