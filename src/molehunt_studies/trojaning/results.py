"""From records to figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molehunt.arrays import Floats
from molehunt.backdoors import Treatment
from molehunt.detectors import (
    auc_with_interval,
    chi_square_p,
    conformal_p_values,
    excess_mistakes,
    expected_mistakes,
)
from molehunt.rates import rate_interval
from molehunt.study import Records, zoo_figures
from molehunt_studies.trojaning.models import TrojaningBench
from molehunt_studies.trojaning.plan import SOURCES
from molehunt_studies.trojaning.population import POPULATION, HistogramRecord

_RATE = 0.05
_LEAST_SUCCESS = 0.8  # of a backdoor that took


def measures(bench: TrojaningBench, records: Records) -> dict[str, Any]:
    """Return what ``results.json`` holds."""
    before = {record.source: record for record in records["networks"]}
    zoo = bench.zoo(POPULATION)
    planted = records["trojans of the population"]
    success = {record.id: record.success for record in planted}
    success |= {r.id: r.attack_success for r in zoo.select(None, Treatment.BACKDOORED)}
    return {
        "sets": {
            name: {
                "accuracy": before[name].accuracy,
                "test_images": before[name].images,
                "attacked": int((bench.images(name).test.labels != SOURCES[name].target).sum()),
                "classes": bench.images(name).test.num_classes,
                "external": len(external) if (external := bench.external(name)) else 0,
                "network": str(SOURCES[name].network.name),
                "per_class": SOURCES[name].per_class,
                "variants": {
                    record.variant: record.model_dump(
                        exclude={"id", "source", "variant", "trigger"}
                    )
                    for record in records["trojans"]
                    if record.source == name
                },
            }
            for name in bench.plan.variants
        },
        "scans": [
            {"about": r.about, "verdict": next(iter(r.verdicts)).value, "said": r.said}
            for r in records["scans"]
            if r.checks
        ],
        "population": {
            "name": bench.plan.population.name,
            "badnets": zoo_figures(zoo),
            "trojans": {
                "models": len(planted),
                "accuracy_before": float(np.mean([r.accuracy_before for r in planted])),
                "accuracy": float(np.mean([r.accuracy for r in planted])),
                "success": float(np.mean([r.success for r in planted])),
                "worst_success": min(r.success for r in planted),
            },
            "verdicts": {
                r.about: {verdict.value: count for verdict, count in r.verdicts.items()}
                for r in records["scans"]
                if not r.checks
            },
            "histogram": {
                count: histogram_figures(records["histograms"], count, success)
                for count in bench.plan.histogram_images
            },
        },
    }


def histogram_figures(
    records: Sequence[HistogramRecord], count: int, success: dict[str, float]
) -> dict[str, Any]:
    """Return what the check finds by so many images, and where mistakes go."""

    def mistakes(record: HistogramRecord) -> Floats:
        return np.array(record.mistakes[count], dtype=np.float64)

    calibration = [mistakes(r) for r in records if r.part == "calibration"]
    total = np.sum(calibration, axis=0)
    null = [excess_mistakes(own, total - own).max() for own in calibration]
    tests = [
        r
        for r in records
        if r.part == "test" and (r.kind == "clean" or success[r.id] >= _LEAST_SUCCESS)
    ]
    found: dict[str, Any] = {"references": len(calibration)}
    scores = {}
    for kind in ("clean", "badnets", "trojan"):
        chosen = [r for r in tests if r.kind == kind]
        if not chosen:  # no backdoor of this kind took
            continue
        each = [mistakes(r) for r in chosen]
        excess = [excess_mistakes(own, total) for own in each]
        scores[kind] = [float(one.max()) for one in excess]
        flagged = int((conformal_p_values(scores[kind], null) <= _RATE).sum())
        uniform = np.zeros_like(total)
        by_own_null = sum(
            chi_square_p(own, expected_mistakes(own, uniform)) <= _RATE for own in each
        )
        found[kind] = {
            "models": len(chosen),
            "mistakes": float(np.mean([own.sum() for own in each])),
            "flagged": [flagged, *rate_interval(flagged, len(chosen))],
            "flagged_by_own_null": int(by_own_null),
            "largest_share": float(
                np.mean([own.sum(0).max() / max(1.0, own.sum()) for own in each])
            ),
        }
        if kind == "clean":
            continue
        targets = [record.target for record in chosen]
        shares = [
            [
                own.sum(0)[t] / max(1.0, own.sum()),
                expected_mistakes(own, total)[t] / max(1.0, own.sum()),
            ]
            for own, t in zip(each, targets, strict=True)
            if t is not None
        ]
        found[kind] |= {
            "to_target": float(np.mean(shares, axis=0)[0]),
            "to_target_expected": float(np.mean(shares, axis=0)[1]),
            "target_takes_most": sum(
                int(own.sum(0).argmax()) == t for own, t in zip(each, targets, strict=True)
            ),
            "target_named": sum(
                int(one.argmax()) == t for one, t in zip(excess, targets, strict=True)
            ),
            "auc": auc_of(scores["clean"], scores[kind]),
        }
    return found


def auc_of(clean: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Return the AUC with its interval."""
    found = auc_with_interval(clean, other)
    return {"auc": found.auc, "interval": [*found.interval]}
