"""Property inference by the detectors that look for backdoors, with another label."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from molehunt.detectors import (
    LitmusPatterns,
    MetaClassifier,
    NoisePatterns,
    UnitStatistics,
    WeightStatistics,
    auc_with_interval,
)
from molehunt.networks import load_model
from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.property_inference.figures import auc_figures
from molehunt_studies.property_inference.plan import SCALES, WORDS, PropertyPlan
from molehunt_studies.property_inference.populations import (
    GroupRecord,
    PropertyBench,
    group_tasks,
    train_group,
)

_SHOWN = {"images", "size", "train_images", "hidden"}
_PARTS = ("fit", "test")


def readers_of(plan: PropertyPlan) -> dict[str, MetaClassifier]:
    """Return what learns from models, by name."""
    return {
        "unit statistics (weights)": UnitStatistics(),
        "weight statistics (weights)": WeightStatistics(),
        "litmus patterns (answers)": LitmusPatterns(n_patterns=plan.patterns, device="cpu"),
        "noise patterns (answers)": NoisePatterns(n_patterns=plan.patterns),
    }


def measures(bench: PropertyBench, records: Records) -> dict[str, Any]:
    """Return what each reader reaches on models with and without each property."""
    names = bench.plan.properties
    parts = {(name, part): _Part(bench, records, name, part) for name in names for part in _PARTS}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        found[name] = {}
        fit = parts[name, "fit"]
        for reader_name, reader in readers_of(bench.plan).items():
            started = time.perf_counter()
            reader.fit(fit.models, fit.has.astype(int))
            seconds = time.perf_counter() - started
            aucs = {other: parts[other, "test"].auc(reader) for other in names}
            found[name][reader_name] = {
                **aucs.pop(name),
                "placebos": aucs,
                "seconds": round(seconds, 1),
            }
    return {
        "properties": found,
        "words": {name: WORDS[name] for name in names},
        "accuracy": {name: parts[name, "test"].accuracy() for name in names},
        "models": {"fit": bench.plan.fit, "test": bench.plan.test},
        "plan": bench.plan.model_dump(mode="json", include=_SHOWN),
        "patterns": bench.plan.patterns,
    }


class _Part:
    """The attacker's models of a population, or the victims."""

    def __init__(self, bench: PropertyBench, records: Records, name: str, part: str) -> None:
        groups: list[GroupRecord] = [
            group for group in records["models"] if (group.property, group.part) == (name, part)
        ]
        seeds = [seed for group in groups for seed in group.seeds]
        self.models = [load_model(bench.model_path(str(seed))) for seed in seeds]
        self.has = np.array([has for group in groups for has in group.has])
        self._accuracies = np.array([each for group in groups for each in group.accuracies])

    def auc(self, reader: MetaClassifier) -> dict[str, Any]:
        scores = reader.decision_function(self.models)
        return auc_with_interval(scores[~self.has], scores[self.has]).model_dump(mode="json")

    def accuracy(self) -> dict[str, float]:
        return {
            "with": float(self._accuracies[self.has].mean()),
            "without": float(self._accuracies[~self.has].mean()),
        }


PROPERTY = Study(
    name="property",
    title="Property inference: what a model says of its training data as a whole.",
    scales=SCALES,
    bench=PropertyBench,
    stages=(Stage("models", group_tasks, train_group, GroupRecord, into="models"),),
    measures=measures,
    report=Report("molehunt_studies.property_inference", figures=auc_figures),
    unit="groups of models",
)
