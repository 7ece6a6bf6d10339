"""From scores to p-values against models of other families, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from molehunt.detectors import auc_with_interval, conformal_p_values
from molehunt.study import Bench, Records
from molehunt_studies.reference.combination import combine
from molehunt_studies.reference.plan import NAMED, ReferencePlan
from molehunt_studies.reference.readings import CHECKS, ReadingRecord

# A backdoor that works less often did not take, and is counted nowhere.
LEAST_SUCCESS = 0.8
RATES = (0.05, 0.025)

# Which clean models a model is compared with, by what both are.
_Others = Callable[[ReadingRecord, ReadingRecord], bool]
NULLS: Mapping[str, _Others] = {
    "other networks": lambda one, other: one.network != other.network,
    "other images": lambda one, other: one.images != other.images,
    "all others": lambda one, other: one.id != other.id,
}


def measures(bench: Bench[ReferencePlan], records: Records) -> dict[str, Any]:
    """Return false alarms and detections of each check, and the scores themselves."""
    found = cast(Sequence[ReadingRecord], records["readings"])
    kinds = {record.id: _kind_of(bench, record) for record in found}
    taken = [r for r in found if r.kind is None or (r.success or 0) >= LEAST_SUCCESS]
    groups: dict[int, list[ReadingRecord]] = {}
    for record in taken:
        groups.setdefault(len(record.statistics[CHECKS[0]]), []).append(record)
    return {
        "models": len(found),
        "populations": len(bench.plan.cells()),
        "checks": CHECKS,
        "nulls": tuple(NULLS),
        "did_not_take": len(found) - len(taken),
        "accuracy": _accuracy(taken),
        "groups": {
            str(classes): {check: _judge(rows, check, kinds) for check in CHECKS}
            | {"together": combine(rows, kinds)}
            for classes, rows in groups.items()
        },
        "scores": scores_of(taken, kinds),
    }


def scores_of(rows: Sequence[ReadingRecord], kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what the package ships: the scores of models that are alike in all that is said."""
    told: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        for check in CHECKS:
            classes = len(row.statistics[check])
            key = (check, classes, row.network, row.images, kinds[row.id])
            told.setdefault(key, []).append(row.compared(check))
    names = ("check", "classes", "network", "images", "kind")
    return [
        {**dict(zip(names, key, strict=True)), "scores": scores} for key, scores in told.items()
    ]


def _kind_of(bench: Bench[ReferencePlan], record: ReadingRecord) -> str:
    """Return the kind of a backdoor, an attack's own name, or nothing for a clean model."""
    if record.kind != NAMED:
        return record.kind or ""
    (entry,) = (each for each in bench.zoo(record.zoo).records if each.id == record.model)
    return str(entry.facts.model_dump(mode="json")["backdoor"]["attack"])


def _accuracy(rows: Sequence[ReadingRecord]) -> dict[str, tuple[float, float]]:
    """Return the lowest and the median accuracy of clean models, by images."""
    found = {}
    for images in dict.fromkeys(row.images for row in rows):
        own = [row.accuracy for row in rows if row.images == images and row.kind is None]
        found[images] = (float(np.min(own)), float(np.median(own)))
    return found


def _judge(rows: Sequence[ReadingRecord], check: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return what a check says of each kind, by each null, at each rate."""
    clean = [row for row in rows if row.kind is None]
    values = {row.id: row.compared(check) for row in rows}
    own = [values[row.id] for row in clean]
    by_kind = _by_kind(rows, kinds)
    result: dict[str, Any] = {
        "auc": {
            kind: auc_with_interval(own, [values[row.id] for row in found]).model_dump()
            for kind, found in by_kind.items()
        },
        "by_own_null": _rates(clean, by_kind, lambda row: row.own_p_values[check] <= RATES[0]),
    }
    for null, among in NULLS.items():
        p_values = _p_values(rows, clean, values, among)
        if not p_values:
            continue  # all models of the group have the same images
        result[null] = {str(rate): _rates(clean, by_kind, _under(p_values, rate)) for rate in RATES}
    return result


def _p_values(
    rows: Sequence[ReadingRecord],
    clean: Sequence[ReadingRecord],
    values: Mapping[str, float],
    among: _Others,
) -> dict[str, float]:
    """Return conformal p-values against clean models; empty where a model has none of them."""
    found = {}
    for row in rows:
        others = [values[other.id] for other in clean if among(row, other)]
        if not others:
            return {}
        found[row.id] = float(conformal_p_values([values[row.id]], others)[0])
    return found


def _under(p_values: Mapping[str, float], rate: float) -> Callable[[ReadingRecord], bool]:
    return lambda row: p_values[row.id] <= rate


def _by_kind(
    rows: Sequence[ReadingRecord], kinds: Mapping[str, str]
) -> dict[str, list[ReadingRecord]]:
    found: dict[str, list[ReadingRecord]] = {}
    for row in rows:
        if row.kind is not None:
            found.setdefault(kinds[row.id], []).append(row)
    return found


def _rates(
    clean: Sequence[ReadingRecord],
    by_kind: Mapping[str, Sequence[ReadingRecord]],
    flagged: Callable[[ReadingRecord], bool],
) -> dict[str, Any]:
    def count(rows: Sequence[ReadingRecord]) -> tuple[int, int]:
        return sum(flagged(row) for row in rows), len(rows)

    networks = dict.fromkeys(row.network for row in clean)
    images = dict.fromkeys(row.images for row in clean)
    return {
        "false_alarms": count(clean),
        "by_network": {n: count([row for row in clean if row.network == n]) for n in networks},
        "by_images": {i: count([row for row in clean if row.images == i]) for i in images},
        "detected": {kind: count(rows) for kind, rows in by_kind.items()},
    }
