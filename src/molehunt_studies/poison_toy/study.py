"""Poison that grows until a linear classifier has a backdoor: the slides' toy example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.poison_toy import figures
from molehunt_studies.poison_toy.growths import GrowthRecord, ToyBench, grow
from molehunt_studies.poison_toy.plan import LEARNERS, SCALES
from molehunt_studies.poison_toy.results import cell_of, results_of


def measures(bench: ToyBench, records: Records) -> dict[str, Any]:
    """Return the figures of all cells."""
    test = {
        source: int((images.test.labels == bench.plan.pair[0]).sum())
        for source, images in bench.images.items()
    }
    return {
        **results_of(records["growths"], bench.plan),
        "test_images": test,
        "plan": bench.plan.model_dump(mode="json"),
    }


def pictures(bench: ToyBench, results: dict[str, Any]) -> dict[str, Figure]:
    """Draw the weights of the first seed, with the pattern as the trigger."""
    source = bench.plan.sources[-1]
    shown: dict[str, Any] = {
        task.learner: np.load(bench.weights_of(task))
        for task in bench.plan.tasks()
        if (task.source, task.trigger, task.seed) == (source, "pattern", 0) and task.C == 1
    }
    doses = {
        name: sorted({0, *np.linspace(0, len(weights) - 1, 5).round().astype(int).tolist()})
        for name, weights in shown.items()
    }
    return {"weights": figures.weight_pictures(shown, doses)}


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results alone."""
    return {"doses": figures.dose_curves(results), "law": figures.law_figure(results)}


POISON_TOY = Study(
    name="poison-toy",
    title="Poison that grows until linear classifiers of digits have a backdoor.",
    scales=SCALES,
    bench=ToyBench,
    stages=(Stage("growths", lambda bench, _: bench.plan.tasks(), grow, GrowthRecord),),
    measures=measures,
    pictures=pictures,
    unit="growths",
    report=Report(
        package="molehunt_studies.poison_toy",
        figures=figures_of,
        words={"cell_of": cell_of, "LEARNERS": LEARNERS},
    ),
)
