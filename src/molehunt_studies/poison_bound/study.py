"""What poison that passes a filter can do to a linear classifier of digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.poison_bound import figures
from molehunt_studies.poison_bound.bounds import BoundBench, BoundRecord, bound_and_attack
from molehunt_studies.poison_bound.plan import SCALES


def measures(bench: BoundBench, records: Records) -> dict[str, Any]:
    """Return the cells as they are."""
    return {
        "cells": [record.model_dump(mode="json", exclude={"id"}) for record in records["bounds"]],
        "plan": bench.plan.model_dump(mode="json"),
    }


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results alone."""
    return {"losses": figures.losses(results)}


def sizes_of(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in words how many images of each pair there were, and passed."""
    said = {
        tuple(cell["pair"]): f"{cell['passed']} of {cell['train_images']} of "
        f"{cell['pair'][0]} and {cell['pair'][1]}"
        for cell in cells
    }
    return list(said.values())


POISON_BOUND = Study(
    name="poison-bound",
    title="What poison that passes a filter can do to a linear classifier, at most.",
    scales=SCALES,
    bench=BoundBench,
    stages=(Stage("bounds", lambda bench, _: bench.plan.tasks(), bound_and_attack, BoundRecord),),
    measures=measures,
    unit="bounds",
    report=Report(
        package="molehunt_studies.poison_bound",
        figures=figures_of,
        words={"sizes_of": sizes_of},
    ),
)
