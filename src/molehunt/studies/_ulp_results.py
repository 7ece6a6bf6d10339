"""The study of Universal Litmus Patterns: from records to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from molehunt.backdoors import Treatment
from molehunt.detectors import auc_over_shuffles, auc_with_interval, conformal_p_values
from molehunt.studies._demo import zoo_figures
from molehunt.studies._examinations import ExaminationRecord
from molehunt.studies._ulp_fits import ABLATIONS, MIXED, PATTERNS, SHUFFLES, FitRecord, Scores
from molehunt.studies._ulp_plan import BASE, UlpPlan
from molehunt.zoo import Split, Zoo

RATE = 0.05
SEARCHES = {"baseline": "pairwise", "neural_cleanse": "neural-cleanse"}
# What is compared where the test models change.
COMPARED = {
    "litmus": "litmus-10",
    "litmus, mixed": MIXED,
    "noise": "noise-10",
    "statistics": "statistics",
}


def results_of(
    plan: UlpPlan,
    zoos: Mapping[str, Zoo],
    fits: Sequence[FitRecord],
    examinations: Sequence[ExaminationRecord],
) -> dict[str, Any]:
    """Return all figures of one image set; AUCs come with their 95 % intervals."""
    by_id = {record.id: record for record in fits}
    found: dict[str, Any] = {
        "zoo": {**_zoo(zoos[BASE]), "seed": plan.base.seed},
        **{name: _by_patterns(name, by_id) for name in ("litmus", "noise")},
        "statistics": _fitted(by_id["statistics"]),
        "controls": _controls(by_id),
        "ablations": {name: _fitted(by_id[f"ablation: {name}"]) for name in ABLATIONS},
        "ablation_models": by_id[f"ablation: {next(iter(ABLATIONS))}"].models,
        "learning_curve": _learning_curve(plan, by_id),
        "poison": {
            percent: _variant(zoos[name], name, by_id, examinations)
            for percent, name in _by_rate(plan).items()
        },
        "carries": {
            name: _variant(zoos[name], name, by_id, examinations) for name in plan.variants
        },
    }
    seconds = {name: by_id[name].seconds_per_model for name in _table_ids()}
    for name, detector in SEARCHES.items():
        records = _of(examinations, BASE, detector)
        if records:
            found[name] = _searched(records)
            seconds[name] = round(float(np.mean([record.seconds for record in records])), 3)
    found["seconds_per_model"] = seconds
    if "baseline" in seconds:
        found["baseline_over_litmus"] = seconds["baseline"] / seconds["litmus-10"]
    return found


def _table_ids() -> list[str]:
    return [
        *(f"{name}-{count}" for name in ("litmus", "noise") for count in PATTERNS),
        "statistics",
    ]


def _by_rate(plan: UlpPlan) -> dict[str, str]:
    """Return the zoos of Figure 4 by poison ratio; the base zoo has the largest."""
    if not plan.rates:
        return {}
    largest = f"{100 * plan.base.backdoors.rate:.0f}"
    return {largest: BASE, **{percent: f"poison-{percent}" for percent in plan.rates}}


def _by_patterns(name: str, by_id: Mapping[str, FitRecord]) -> dict[str, Any]:
    """Return each figure by the number of patterns."""
    found = {str(count): _fitted(by_id[f"{name}-{count}"]) for count in PATTERNS}
    keys = next(iter(found.values()))
    return {key: {count: item[key] for count, item in found.items()} for key in keys}


def _fitted(record: FitRecord) -> dict[str, Any]:
    """Return what a fitted detector reaches on the base zoo's test models."""
    scores = record.scores[BASE]
    placebo = auc_with_interval(scores.clean, scores.placebo)
    return {
        **_auc(scores),
        "placebo": placebo.model_dump(mode="json"),
        **_rates(scores.clean, scores.backdoored, record.calibration),
        "roc": _roc(scores.clean, scores.backdoored),
        "fit_seconds": record.fit_seconds,
        "fitted_on": record.models,
    }


def _searched(records: Sequence[ExaminationRecord]) -> dict[str, Any]:
    clean, backdoored = _scores_of(records)
    reference = [item.score for item in records if item.split is Split.CALIBRATION]
    hits = [item.target == item.true_target for item in records if item.true_target is not None]
    return {
        **auc_with_interval(clean, backdoored).model_dump(mode="json"),
        **_rates(clean, backdoored, reference),
        "roc": _roc(clean, backdoored),
        "target_named": float(np.mean(hits)),
        "settings": records[0].settings,
    }


def _controls(by_id: Mapping[str, FitRecord]) -> dict[str, Any]:
    shuffled = [by_id[f"litmus-10 shuffled {seed}"].scores[BASE] for seed in range(SHUFFLES)]
    pairs = [(scores.clean, scores.backdoored) for scores in shuffled]
    return {
        "shuffled": auc_over_shuffles(pairs, np.random.default_rng(0)).model_dump(mode="json"),
        "placebo": _fitted(by_id["litmus-10"])["placebo"],
    }


def _learning_curve(plan: UlpPlan, by_id: Mapping[str, FitRecord]) -> dict[str, Any]:
    points = [by_id[f"curve: {pairs}"] for pairs in plan.curve if f"curve: {pairs}" in by_id]
    points.append(by_id["litmus-10"])
    return {str(record.models): _auc(record.scores[BASE]) for record in points}


def _variant(
    zoo: Zoo,
    name: str,
    by_id: Mapping[str, FitRecord],
    examinations: Sequence[ExaminationRecord],
) -> dict[str, Any]:
    """Return what each detector reaches on the test models of another zoo; None where it cannot."""
    detectors: dict[str, Any] = {}
    for label, fit in COMPARED.items():
        if fit in by_id:
            scores = by_id[fit].scores.get(name)
            detectors[label] = None if scores is None else _auc(scores)
    for label, detector in SEARCHES.items():
        records = _of(examinations, name, detector)
        if records:
            detectors[label] = auc_with_interval(*_scores_of(records)).model_dump(mode="json")
    return {**_zoo(zoo), "detectors": detectors}


def _zoo(zoo: Zoo) -> dict[str, Any]:
    mean = float(np.mean([record.seconds for record in zoo.records]))
    return {
        **zoo_figures(zoo),
        "test_models": len(zoo.select(Split.TEST, Treatment.CLEAN, Treatment.BACKDOORED)),
        "seconds_to_build_one": round(mean, 2),
    }


def _of(records: Sequence[ExaminationRecord], zoo: str, detector: str) -> list[ExaminationRecord]:
    return [item for item in records if item.zoo == zoo and item.detector == detector]


def _scores_of(records: Sequence[ExaminationRecord]) -> tuple[list[float], list[float]]:
    tests = [item for item in records if item.split is Split.TEST]
    return (
        [item.score for item in tests if item.treatment is Treatment.CLEAN],
        [item.score for item in tests if item.treatment is Treatment.BACKDOORED],
    )


def _auc(scores: Scores) -> dict[str, Any]:
    return auc_with_interval(scores.clean, scores.backdoored).model_dump(mode="json")


def _rates(
    clean: Sequence[float], backdoored: Sequence[float], reference: Sequence[float]
) -> dict[str, float]:
    """Return what a verdict at 5 % does, by p-values against clean calibration models."""
    return {
        "false_alarm_rate": float(np.mean(conformal_p_values(clean, reference) <= RATE)),
        "detection_rate": float(np.mean(conformal_p_values(backdoored, reference) <= RATE)),
    }


def _roc(clean: Sequence[float], backdoored: Sequence[float]) -> list[list[float]]:
    truth = [0] * len(clean) + [1] * len(backdoored)
    rates, hits, _ = roc_curve(truth, [*clean, *backdoored])
    return [rates.round(4).tolist(), hits.round(4).tolist()]
