"""Poisoning attacks against support vector machines (Biggio, Nelson and Laskov, ICML 2012)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.svm_poisoning import figures
from molehunt_studies.svm_poisoning.draws import (
    DefenceRecord,
    DrawRecord,
    SvmBench,
    defend_draw,
    poison_draw,
)
from molehunt_studies.svm_poisoning.plan import FIRST_DRAW, SCALES, DrawPlan
from molehunt_studies.svm_poisoning.results import contaminations, results_of


def _defended(bench: SvmBench, _records: Records) -> list[DrawPlan]:
    return bench.plan.tasks("linear", bench.plan.defended_draws)


def measures(bench: SvmBench, records: Records) -> dict[str, Any]:
    """Return the figures of all kernels and pairs."""
    draws = [*records["draws"], *records["RBF kernel"]]
    return {
        "kernels": results_of(draws, records["defences"], bench.plan),
        "test_images": {f"{a} v {b}": len(bench.test((a, b))[0]) for a, b in bench.plan.pairs},
        "plan": bench.plan.model_dump(mode="json"),
        "seed": FIRST_DRAW,
        "core_seconds_of_attacks": round(sum(each.seconds for each in draws), 1),
    }


def pictures(bench: SvmBench, results: dict[str, Any]) -> dict[str, Figure]:
    """Draw the points of the first draw of each kernel and pair."""
    first = {}
    for task in [*bench.plan.tasks("linear"), *bench.plan.tasks("rbf")]:
        if task.seed == FIRST_DRAW:
            first[f"{task.kernel}\n{task.pair[0]} v {task.pair[1]}"] = np.load(
                bench.points_of(task)
            )
    return {"points": figures.points_figure(first)}


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results alone."""
    return {
        **{f"errors-{name}": figures.error_curves(results, name) for name in results["kernels"]},
        "defences": figures.defence_curves(results),
    }


SVM_POISONING = Study(
    name="svm-poisoning",
    title="Poison for support vector machines: one to nine points, controls and defences.",
    scales=SCALES,
    bench=SvmBench,
    stages=(
        Stage("draws", lambda bench, _: bench.plan.tasks("linear"), poison_draw, DrawRecord),
        Stage("defences", _defended, defend_draw, DefenceRecord),
        Stage(
            "RBF kernel",
            lambda bench, _: bench.plan.tasks("rbf"),
            poison_draw,
            DrawRecord,
            "rbf.jsonl",
        ),
    ),
    measures=measures,
    pictures=pictures,
    unit="draws",
    report=Report(
        package="molehunt_studies.svm_poisoning",
        figures=figures_of,
        words={"contaminations": contaminations},
    ),
)
