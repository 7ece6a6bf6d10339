"""The study of scanners: from examinations to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molehunt.backdoors import Treatment
from molehunt.detectors import Evaluation, auc_with_interval
from molehunt.zoo import Split
from molehunt_studies.examinations import RATE, ExaminationRecord, rates_of, scores_of


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
    clean, backdoored = scores_of(records)
    reference = [record.score for record in records if record.split is Split.CALIBRATION]
    known = [
        record for record in _test(records, Treatment.BACKDOORED) if record.true_target is not None
    ]
    found: dict[str, Any] = {
        "models": {"clean": len(clean), "backdoored": len(backdoored), "reference": len(reference)},
        **auc_with_interval(clean, backdoored).model_dump(mode="json"),
        "calibrated": rates_of(clean, backdoored, reference),
        "seconds_per_model": round(float(np.mean([record.seconds for record in records])), 4),
        "target_named": (
            float(np.mean([record.target == record.true_target for record in known]))
            if known
            else None
        ),
    }
    if all(record.p_value is not None for record in records):
        found["own_null"] = _by_p_values(records, RATE)
    return found


def _together(records: Sequence[ExaminationRecord], names: Sequence[str]) -> dict[str, Any]:
    """Return the rates of a scan with several detectors by their own nulls (Bonferroni)."""
    own = [record for record in records if record.detector in names]
    return {"detectors": list(names), **_by_p_values(own, RATE / len(names))}


def _by_p_values(records: Sequence[ExaminationRecord], rate: float) -> dict[str, float]:
    """Return the shares of models that any detector's own p-value flags."""
    shares = []
    for kind in (Treatment.CLEAN, Treatment.BACKDOORED):
        least: dict[str, float] = {}
        for record in _test(records, kind):
            assert record.p_value is not None
            least[record.model] = min(record.p_value, least.get(record.model, 1.0))
        shares.append(float(np.mean([p_value <= rate for p_value in least.values()])))
    return {"false_alarm_rate": shares[0], "detection_rate": shares[1]}


def evaluation_of(found: Evaluation) -> dict[str, Any]:
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
