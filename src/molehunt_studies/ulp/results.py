"""The study of Universal Litmus Patterns: from records to figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from molehunt.backdoors import Treatment
from molehunt.detectors import auc_over_shuffles, auc_with_interval
from molehunt.study import zoo_figures
from molehunt.zoo import Split, Zoo
from molehunt_studies.examinations import ExaminationRecord, rates_of, scores_of, share_flagged
from molehunt_studies.ulp.fits import (
    ABLATIONS,
    COMPARED,
    PATTERNS,
    SHUFFLES,
    FitRecord,
    ScoreRecord,
)
from molehunt_studies.ulp.plan import BASE, UlpPlan

SEARCHES = {"baseline": "pairwise", "neural_cleanse": "neural-cleanse"}


@dataclass(frozen=True)
class UlpRecords:
    """Everything that was measured, by name."""

    fits: Mapping[str, FitRecord]
    scores: Mapping[tuple[str, str], ScoreRecord]  # by detector and zoo
    examinations: Sequence[ExaminationRecord]

    @classmethod
    def of(
        cls,
        fits: Sequence[FitRecord],
        scores: Sequence[ScoreRecord],
        examinations: Sequence[ExaminationRecord],
    ) -> UlpRecords:
        """Sort records by name."""
        return cls(
            {record.id: record for record in fits},
            {(record.fit, record.zoo): record for record in scores},
            examinations,
        )

    def examined(self, zoo: str, detector: str) -> list[ExaminationRecord]:
        """Return the examinations of one zoo by one detector."""
        return [item for item in self.examinations if (item.zoo, item.detector) == (zoo, detector)]


def results_of(
    plan: UlpPlan,
    zoos: Mapping[str, Zoo],
    records: UlpRecords,
) -> dict[str, Any]:
    """Return all figures of one image set; AUCs come with their 95 % intervals."""
    found: dict[str, Any] = {
        "zoo": {**_zoo(zoos[BASE]), "seed": plan.base.seed},
        **{name: _by_patterns(name, records) for name in ("litmus", "noise")},
        "statistics": _fitted_figures("statistics", records),
        "controls": _controls(records),
        "over_the_bar": _over_the_bar(zoos[BASE], records),
        "ablations": {name: _fitted_figures(f"ablation: {name}", records) for name in ABLATIONS},
        "ablation_models": records.fits[f"ablation: {next(iter(ABLATIONS))}"].models,
        "learning_curve": _learning_curve(plan, records),
        "poison": {
            percent: _variant(zoos[name], name, records) for percent, name in _by_rate(plan).items()
        },
        "carries": {name: _variant(zoos[name], name, records) for name in plan.variants},
    }
    seconds = {name: records.scores[name, BASE].seconds_per_model or 0.0 for name in _table_ids()}
    for name, detector in SEARCHES.items():
        examined = records.examined(BASE, detector)
        if examined:
            found[name] = _search_figures(examined)
            seconds[name] = round(float(np.mean([record.seconds for record in examined])), 3)
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
    return {largest: BASE, **plan.rate_zoos}


def _by_patterns(name: str, records: UlpRecords) -> dict[str, Any]:
    """Return each figure by the number of patterns."""
    found = {str(count): _fitted_figures(f"{name}-{count}", records) for count in PATTERNS}
    keys = next(iter(found.values()))
    return {key: {count: item[key] for count, item in found.items()} for key in keys}


def _fitted_figures(name: str, records: UlpRecords) -> dict[str, Any]:
    """Return what a fitted detector reaches on the base zoo's test models."""
    fit, scores = records.fits[name], records.scores[name, BASE]
    placebo = auc_with_interval(scores.clean, scores.placebo)
    against = auc_with_interval(scores.placebo, scores.backdoored)
    return {
        **_auc(scores),
        "placebo": placebo.model_dump(mode="json"),
        "against_placebo": against.model_dump(mode="json"),
        **rates_of(scores.clean, scores.backdoored, fit.calibration),
        "placebo_rate": share_flagged(scores.placebo, fit.calibration),
        "roc": _roc(scores.clean, scores.backdoored),
        "fit_seconds": fit.fit_seconds,
        "fitted_on": fit.models,
    }


def _search_figures(records: Sequence[ExaminationRecord]) -> dict[str, Any]:
    clean, backdoored = scores_of(records)
    reference = [item.score for item in records if item.split is Split.CALIBRATION]
    hits = [item.target == item.true_target for item in records if item.true_target is not None]
    return {
        **auc_with_interval(clean, backdoored).model_dump(mode="json"),
        **rates_of(clean, backdoored, reference),
        "roc": _roc(clean, backdoored),
        "target_named": float(np.mean(hits)),
        "settings": records[0].settings,
    }


def _controls(records: UlpRecords) -> dict[str, Any]:
    found = [records.scores[f"litmus-10 shuffled {seed}", BASE] for seed in range(SHUFFLES)]
    pairs = [(scores.clean, scores.backdoored) for scores in found]
    return {
        "shuffled": auc_over_shuffles(pairs, np.random.default_rng(0)).model_dump(mode="json"),
        "placebo": _fitted_figures("litmus-10", records)["placebo"],
    }


def _over_the_bar(zoo: Zoo, records: UlpRecords) -> dict[str, Any]:
    """Return the AUCs of the paper's methods when backdoors that do not work are left out.

    All clean test models against the backdoored ones over the bar of the zoo.
    """
    under = {record.id for record in zoo.failed_models()}
    works = [record.id not in under for record in zoo.select(Split.TEST, Treatment.BACKDOORED)]
    detectors: dict[str, Any] = {}
    if any(works):
        for label in ("litmus", "noise", "statistics"):
            scores = records.scores[COMPARED[label], BASE]
            working = [score for score, kept in zip(scores.backdoored, works, strict=True) if kept]
            detectors[label] = _auc(scores.model_copy(update={"backdoored": working}))
        detectors |= _search_aucs(BASE, records, left_out=under)
    return {"backdoored": sum(works), "detectors": detectors}


def _learning_curve(plan: UlpPlan, records: UlpRecords) -> dict[str, Any]:
    names = [f"curve: {pairs}" for pairs in plan.curve]
    points = [name for name in (*names, "litmus-10") if name in records.fits]
    return {str(records.fits[name].models): _fitted_figures(name, records) for name in points}


def _variant(zoo: Zoo, name: str, records: UlpRecords) -> dict[str, Any]:
    """Return what detectors reach on another zoo's test models; None where one does not fit."""
    detectors: dict[str, Any] = {}
    for label, fit in COMPARED.items():
        if (fit, name) in records.scores:
            scores = records.scores[fit, name]
            detectors[label] = _auc(scores) if scores.fits else None
    detectors |= _search_aucs(name, records)
    return {**_zoo(zoo), "detectors": detectors}


def _search_aucs(zoo: str, records: UlpRecords, left_out: Collection[str] = ()) -> dict[str, Any]:
    """Return the AUCs of the searches that ran on a zoo, some of its models left out."""
    aucs = {}
    for label, detector in SEARCHES.items():
        examined = [item for item in records.examined(zoo, detector) if item.model not in left_out]
        if examined:
            aucs[label] = auc_with_interval(*scores_of(examined)).model_dump(mode="json")
    return aucs


def _zoo(zoo: Zoo) -> dict[str, Any]:
    mean = float(np.mean([record.seconds for record in zoo.records]))
    return {
        **zoo_figures(zoo),
        "test_models": len(zoo.select(Split.TEST, Treatment.CLEAN, Treatment.BACKDOORED)),
        "seconds_to_build_one": round(mean, 2),
    }


def _auc(scores: ScoreRecord) -> dict[str, Any]:
    return auc_with_interval(scores.clean, scores.backdoored).model_dump(mode="json")


def _roc(clean: Sequence[float], backdoored: Sequence[float]) -> list[list[float]]:
    truth = [0] * len(clean) + [1] * len(backdoored)
    rates, hits, _ = roc_curve(truth, [*clean, *backdoored])
    return [rates.round(4).tolist(), hits.round(4).tolist()]
