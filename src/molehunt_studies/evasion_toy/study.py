"""Greedy evasion of ten learners: few pixels or small changes, by labels or by scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.evasion_toy import figures
from molehunt_studies.evasion_toy.attacked import (
    DENSE,
    LIBRARY,
    PICTURES,
    SPARSE,
    EvasionToyBench,
    LearnerRecord,
    attack_learner,
    learner_tasks,
)
from molehunt_studies.evasion_toy.learners import LEARNERS
from molehunt_studies.evasion_toy.plan import SCALES
from molehunt_studies.evasion_toy.results import results_of, share


def measures(bench: EvasionToyBench, records: Records) -> dict[str, Any]:
    """Return the figures of all learners."""
    return {
        **results_of(records["learners"], bench.plan.epsilons),
        "plan": bench.plan.model_dump(mode="json"),
    }


def pictures(bench: EvasionToyBench, _results: dict[str, Any]) -> dict[str, Figure]:
    """Draw images before and after."""
    drawn = {}
    for images in bench.plan.images:
        shown = {}
        for task in learner_tasks(bench, {}):
            with np.load(bench.picture_path(task)) as found:
                if task.images == images and len(found["labels"]):
                    shown[task.learner] = {name: found[name][0] for name in found.files}
        drawn[f"pictures-{images}"] = figures.before_and_after(shown)
    return drawn


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results alone."""
    drawn = {}
    for images, learners in results["learners"].items():
        drawn[f"pixels-{images}"] = figures.curves(
            learners, (*SPARSE, LIBRARY[2]), "changed pixels"
        )
        drawn[f"epsilon-{images}"] = figures.curves(
            learners, (*DENSE, LIBRARY[1]), "largest change of a pixel"
        )
    return drawn


EVASION_TOY = Study(
    name="evasion-toy",
    title="Greedy evasion of ten learners, sparse and dense, beside a library's attacks.",
    scales=SCALES,
    bench=EvasionToyBench,
    stages=(Stage("learners", learner_tasks, attack_learner, LearnerRecord, into=PICTURES),),
    measures=measures,
    pictures=pictures,
    report=Report(
        package="molehunt_studies.evasion_toy",
        figures=figures_of,
        words={
            "share": share,
            "attacks": (*SPARSE, *DENSE, *LIBRARY),
            "most": {name: learner.most for name, learner in LEARNERS.items()},
        },
    ),
    unit="learners",
)
