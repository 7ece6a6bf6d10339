"""The study of support vector machines: from draws to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from molehunt_studies.svm_poisoning.draws import DefenceRecord, DrawRecord
from molehunt_studies.svm_poisoning.plan import SvmPlan


def results_of(
    records: Sequence[DrawRecord], defences: Sequence[DefenceRecord], plan: SvmPlan
) -> dict[str, Any]:
    """Return the figures of each kernel and pair, errors in percent of test images."""
    found: dict[str, Any] = {}
    for kernel in plan.draws:
        found[kernel] = {}
        for pair in plan.pairs_of(kernel):
            place = (kernel, pair)
            found[kernel][f"{pair[0]} v {pair[1]}"] = {
                **_errors([each for each in records if (each.kernel, each.pair) == place], plan),
                "defended": _defended(
                    [each for each in defences if (each.kernel, each.pair) == place], plan
                ),
            }
    return found


def _errors(records: Sequence[DrawRecord], plan: SvmPlan) -> dict[str, Any]:
    errors = {
        name: 100 * np.array([record.errors[name] for record in records])
        for name in records[0].errors
    }
    return {
        "draws": len(records),
        "errors": {
            name: [summary(column) for column in values.T] for name, values in errors.items()
        },
        "attack_is_worst": {
            name: [int(count) for count in (errors["attack"] > values).sum(0)]
            for name, values in errors.items()
            if name != "attack"
        },
        "losses": np.mean([record.losses for record in records], axis=0).round(4).tolist(),
        "seconds_per_point": round(
            float(np.mean([record.seconds for record in records])) / plan.points, 3
        ),
        "fits_per_draw": records[0].fits,
        "gamma": None if records[0].gamma is None else round(records[0].gamma, 4),
    }


def _defended(records: Sequence[DefenceRecord], plan: SvmPlan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in records[0].defended if records else ():
        found[name] = {}
        for points in plan.defended:
            errors, poison, clean = np.array([each.defended[name][points] for each in records]).T
            found[name][str(points)] = {
                **summary(100 * errors),
                "draws": len(records),
                "poison_touched": round(float(poison.mean()), 2),
                "clean_touched": round(float(clean.mean()), 2),
            }
    return found


def summary(values: Any) -> dict[str, float]:
    """Return the mean of draws with its 95 % t interval, standard deviation and extremes.

    Examples
    --------
    >>> summary([1.0, 2.0, 3.0])
    {'mean': 2.0, 'low': 0.0, 'high': 4.48, 'std': 1.0, 'least': 1.0, 'worst': 3.0}
    """
    numbers = np.asarray(values, dtype=np.float64)
    mean, std = numbers.mean(), numbers.std(ddof=1)
    half = stats.t.ppf(0.975, len(numbers) - 1) * std / np.sqrt(len(numbers))
    found = {
        "mean": mean,
        "low": max(0.0, mean - half),
        "high": mean + half,
        "std": std,
        "least": numbers.min(),
        "worst": numbers.max(),
    }
    return {name: round(float(value), 2) for name, value in found.items()}


def contaminations(results: Mapping[str, Any]) -> list[float]:
    """Return the share of poison in the training set in percent, with 0, 1, 2, … points."""
    plan = results["plan"]
    return [100 * p / (plan["train"] + p) for p in range(plan["points"] + 1)]
