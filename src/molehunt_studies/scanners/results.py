"""The study of scanners: from examinations to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molehunt.backdoors import Treatment
from molehunt.detectors import (
    Evaluation,
    auc_with_interval,
    conformal_p_values,
)
from molehunt.zoo import Split
from molehunt_studies.examinations import ExaminationRecord

RATE = 0.05


def results_of(
    records: Sequence[ExaminationRecord],
    detectors: Mapping[str, Sequence[str]],
    together: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of each zoo and detector, and of `together`, combined as a scan does."""
    results: dict[str, Any] = {}
    for zoo, names in detectors.items():
        here = [record for record in records if record.zoo == zoo]
        results[zoo] = {
            name: _detector([record for record in here if record.detector == name])
            for name in names
        }
        combined = [name for name in together if name in names]
        results[zoo]["together"] = _together(here, combined)
    return results


def _detector(records: Sequence[ExaminationRecord]) -> dict[str, Any]:
    parts = {kind: _test(records, kind) for kind in (Treatment.CLEAN, Treatment.BACKDOORED)}
    clean, backdoored = parts[Treatment.CLEAN], parts[Treatment.BACKDOORED]
    reference = [record.score for record in records if record.split is Split.CALIBRATION]
    scores = {kind: [record.score for record in part] for kind, part in parts.items()}
    auc = auc_with_interval(scores[Treatment.CLEAN], scores[Treatment.BACKDOORED])
    calibrated = {
        kind: conformal_p_values(values, reference) <= RATE for kind, values in scores.items()
    }
    known = [record for record in backdoored if record.true_target is not None]
    found: dict[str, Any] = {
        "models": {"clean": len(clean), "backdoored": len(backdoored), "reference": len(reference)},
        **auc.model_dump(mode="json"),
        "calibrated": _rates(calibrated[Treatment.CLEAN], calibrated[Treatment.BACKDOORED]),
        "seconds_per_model": round(float(np.mean([record.seconds for record in records])), 4),
        "target_named": (
            float(np.mean([record.target == record.true_target for record in known]))
            if known
            else None
        ),
    }
    if all(record.p_value is not None for record in records):
        found["own_null"] = _rates(*_flagged(clean, backdoored))
    return found


def _together(records: Sequence[ExaminationRecord], names: Sequence[str]) -> dict[str, Any]:
    """Return the rates of a scan with several detectors by their own nulls (Bonferroni)."""
    parts = []
    for kind in (Treatment.CLEAN, Treatment.BACKDOORED):
        p_values = [
            [record.p_value for record in _test(records, kind) if record.detector == name]
            for name in names
        ]
        least = np.array(p_values, dtype=float).min(axis=0)
        parts.append(least <= RATE / len(names))
    return {"detectors": list(names), **_rates(*parts)}


def evaluated(found: Evaluation) -> dict[str, Any]:
    """Return what a fitted detector reaches on a zoo."""
    return {
        "models": {"clean": found.clean, "backdoored": found.backdoored},
        **found.auc.model_dump(mode="json"),
        "calibrated": {
            "false_alarm_rate": found.false_alarm_rate,
            "detection_rate": found.detection_rate,
        },
        "seconds_per_model": round(found.seconds_per_model, 4),
    }


def names_of(results: Mapping[str, Any]) -> list[str]:
    """Return the detectors without a zoo that ran on any zoo."""
    found = [name for zoo in results["detectors"].values() for name in zoo if name != "together"]
    return list(dict.fromkeys(found))


def _test(records: Sequence[ExaminationRecord], kind: Treatment) -> list[ExaminationRecord]:
    return [record for record in records if record.split is Split.TEST and record.treatment is kind]


def _flagged(*parts: Sequence[ExaminationRecord]) -> list[Any]:
    return [np.array([record.p_value for record in part], dtype=float) <= RATE for part in parts]


def _rates(clean: Any, backdoored: Any) -> dict[str, float]:
    return {
        "false_alarm_rate": float(np.mean(clean)),
        "detection_rate": float(np.mean(backdoored)),
    }
