"""The toy: from growths to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molehunt.rates import rate_interval
from molehunt_studies.poison_toy.growths import SUCCESSES, GrowthRecord
from molehunt_studies.poison_toy.plan import LEARNERS, LOSSES, ToyPlan


def results_of(records: Sequence[GrowthRecord], plan: ToyPlan) -> dict[str, Any]:
    """Return the doses of each cell, learner and source, and how well they were predicted."""
    cells = []
    for source in plan.sources:
        for trigger, C in plan.cells:
            for learner in LEARNERS:
                place = (source, trigger, C, learner)
                same = [
                    each
                    for each in records
                    if (each.source, each.trigger, each.C, each.learner) == place
                ]
                if same:
                    cells.append(_cell(same))
    return {"cells": cells, "law": {name: _law(records, name) for name in LOSSES}}


def _cell(records: Sequence[GrowthRecord]) -> dict[str, Any]:
    first = records[0]
    found: dict[str, Any] = {
        "source": first.source,
        "trigger": first.trigger,
        "C": first.C,
        "learner": first.learner,
        "strength": first.strength,
        "images": first.images,
        "seeds": len(records),
        "clean_accuracy_before": _mean(each.clean_accuracy[0] for each in records),
        "clean_accuracy_after": _mean(each.clean_accuracy[-1] for each in records),
        "success_before": _mean(each.success[0] for each in records),
        "control": _mean(each.control for each in records),
        "largest_pull": max(each.largest_pull for each in records),
        "success": _curve([each.success for each in records]),
    }
    for number, share in enumerate(SUCCESSES):
        measured = [each.measured[number] for each in records]
        predicted = [each.predicted[number] for each in records]
        found[f"at_{share:.0%}".rstrip("%")] = {
            "measured": measured,
            "median": _median(measured),
            "predicted": predicted,
            "predicted_median": _median(predicted),
        }
    return found


def _law(records: Sequence[GrowthRecord], learner: str) -> dict[str, Any]:
    """Return how far the doses that fired are from the predicted ones, over all growths."""
    pairs = [
        (measured, predicted)
        for each in records
        if each.learner == learner
        for measured, predicted in zip(each.measured[:1], each.predicted[:1], strict=True)
        if measured is not None and predicted is not None
    ]
    # A dose is a whole number: a prediction of 0.3 means 1.
    ratios = [measured / max(1, np.ceil(predicted)) for measured, predicted in pairs]
    inside = int(sum(0.5 <= ratio <= 2 for ratio in ratios))
    pulls = [each.largest_pull for each in records if each.learner == learner]
    return {
        "growths": len(ratios),
        "ratio_median": round(float(np.median(ratios)), 2),
        "ratio_least": round(float(min(ratios)), 2),
        "ratio_most": round(float(max(ratios)), 2),
        "within_factor_2": inside,
        "within_factor_2_interval": [round(each, 2) for each in rate_interval(inside, len(ratios))],
        "largest_pull": max(pulls),
    }


def _curve(successes: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean success by dose; a growth that ended keeps its last one."""
    longest = max(map(len, successes))
    rows = [[*each, *[each[-1]] * (longest - len(each))] for each in successes]
    return [round(float(value), 4) for value in np.mean(rows, axis=0)]


def _median(values: Sequence[float | None]) -> float | None:
    """Return the median; a dose that was never enough counts as infinite."""
    middle = float(np.median([np.inf if value is None else value for value in values]))
    return round(middle, 2) if np.isfinite(middle) else None


def _mean(values: Any) -> float:
    return round(float(np.mean([*values])), 4)


def cell_of(results: Mapping[str, Any], **wanted: Any) -> dict[str, Any] | None:
    """Return the cell with these settings."""
    for cell in results["cells"]:
        if all(cell[name] == value for name, value in wanted.items()):
            return dict(cell)
    return None
