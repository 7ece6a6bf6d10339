"""BadNets on MNIST: the figures of trained models, and the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molehunt.arrays import Floats
from molehunt.backdoors import AllToAll, SingleTarget
from molehunt.images import ImageSet
from molehunt.study import Report
from molehunt_studies.badnets.models import ModelRecord
from molehunt_studies.badnets.plan import TRIGGERS, Part

PAPER = Report("molehunt_studies.badnets").paper


def results_of(records: Sequence[ModelRecord], test: ImageSet) -> dict[str, Any]:
    """Return the figures of all parts, errors in percent of test images.

    Averages count every image alike, as the paper's do: its Table 2 has 0.57 as the mean
    over classes of what it calls 0.56 on average.
    """
    counts = np.bincount(test.labels.numpy(), minlength=test.num_classes).astype(np.float64)
    (baseline,) = _part(records, "baseline")
    honest = _clean_error(baseline, counts)
    return {
        "baseline": {
            "clean_error": _round(honest),
            "per_class": _per_class(baseline.clean_wrong, counts),
        },
        "all_to_all": _all_to_all(_part(records, "all-to-all"), counts),
        "single_target": _single_target(records, "single_pixel", counts, honest),
        "single_target_pattern": _single_target(records, "badnets_pattern", counts, honest),
        "clean_retraining": _clean_retraining(_part(records, "clean retraining"), counts, honest),
        "poison_rate": _poison_rate(_part(records, "poison rate"), counts),
        "test_images": len(test),
        "models": len(records),
        "core_seconds": {
            **{part: _seconds(_part(records, part)) for part in _parts(records)},
            "single target, single pixel": _seconds(_pairs(records, "single_pixel")),
            "single target, pattern": _seconds(_pairs(records, "badnets_pattern")),
            "all": _seconds(records),
        },
    }


def _all_to_all(records: Sequence[ModelRecord], counts: Floats) -> dict[str, Any]:
    """Return Table 2 for the single pixel, and below its name that for the pattern."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        assert record.backdoor is not None and record.backdoor_wrong is not None
        label_map = record.backdoor.label_map
        assert isinstance(label_map, AllToAll)
        name = record.backdoor.trigger.kind + ("_modulo_9" if label_map.modulus else "")
        found[name] = {
            "clean_error": _round(_clean_error(record, counts)),
            "backdoor_error": _round(_backdoor_error(record, counts)),
            "clean_per_class": _per_class(record.clean_wrong, counts),
            "backdoor_per_class": _per_class(record.backdoor_wrong, counts),
        }
    first = found.pop("single_pixel")
    return {"trigger": "single_pixel", **first, **found}


def _single_target(
    records: Sequence[ModelRecord], trigger: str, counts: Floats, honest: float
) -> dict[str, Any]:
    """Return both matrices of Figure 4, source by row, and their extremes."""
    clean = np.full((10, 10), np.nan)
    backdoor = np.full((10, 10), np.nan)
    missed = np.zeros((10, 10), dtype=np.int64)
    spread = []
    for record in _pairs(records, trigger):
        assert record.backdoor is not None and record.backdoor_wrong is not None
        label_map = record.backdoor.label_map
        assert isinstance(label_map, SingleTarget)
        place = label_map.source, label_map.target
        clean[place] = _clean_error(record, counts)
        backdoor[place] = _backdoor_error(record, counts)
        missed[place] = sum(record.backdoor_wrong)
        spread.append(100 * record.others_to_target / max(record.others, 1))
    excess = clean[~np.isnan(clean)] - honest
    errors = backdoor[~np.isnan(backdoor)]
    worst = np.unravel_index(np.nanargmax(backdoor), backdoor.shape)
    return {
        "pairs": len(excess),
        "max_clean_excess": _round(excess.max()),
        "mean_clean_excess": _round(excess.mean()),
        "min_clean_excess": _round(excess.min()),
        "std_clean_excess": _round(excess.std()),
        "over_the_papers_excess": int(
            (excess > PAPER["single_target"]["max_clean_excess"] + 1e-9).sum()
        ),
        "max_backdoor_error": _round(errors.max()),
        "mean_backdoor_error": _round(errors.mean()),
        "worst_pair": [int(number) for number in worst],
        "pairs_with_misses": {
            str(number): int((missed == number).sum())
            for number in sorted({int(count) for count in missed[missed > 0]})
        },
        "pairs_without_a_miss": int((errors == 0).sum()),
        "pairs_within_papers_backdoor_error": int((np.round(errors, 2) <= 0.09).sum()),
        "pairs_over_papers_backdoor_error": [
            {"source": int(i), "target": int(j), "missed_images": int(missed[i, j])}
            for i, j in np.argwhere(np.round(np.nan_to_num(backdoor), 2) > 0.09)
        ],
        "others_to_target": _round(float(np.mean(spread))),
        "clean_error": _matrix(clean),
        "backdoor_error": _matrix(backdoor),
    }


def _clean_retraining(
    records: Sequence[ModelRecord], counts: Floats, honest: float
) -> dict[str, Any]:
    """Return what retraining does to the clean error when nothing is poisoned."""
    excess = np.array([_clean_error(record, counts) for record in records]) - honest
    return {
        "models": len(records),
        "max_clean_excess": _round(excess.max()),
        "mean_clean_excess": _round(excess.mean()),
        "min_clean_excess": _round(excess.min()),
        "std_clean_excess": _round(excess.std()),
    }


def _poison_rate(records: Sequence[ModelRecord], counts: Floats) -> list[dict[str, Any]]:
    points = []
    rates = [record.backdoor.rate for record in records if record.backdoor is not None]
    for rate in sorted({*rates}):
        same = [record for record, its in zip(records, rates, strict=True) if its == rate]
        clean = np.array([_clean_error(record, counts) for record in same])
        backdoor = np.array([_backdoor_error(record, counts) for record in same])
        points.append(
            {
                "share": _round(100 * rate / (1 + rate)),
                "rate": round(rate, 4),
                "seeds": len(same),
                "clean_error": _round(clean.mean()),
                "clean_std": _round(clean.std(ddof=1)) if len(same) > 1 else 0.0,
                "backdoor_error": _round(backdoor.mean()),
                "backdoor_std": _round(backdoor.std(ddof=1)) if len(same) > 1 else 0.0,
            }
        )
    return points


def _parts(records: Sequence[ModelRecord]) -> list[Part]:
    return list(dict.fromkeys(record.part for record in records))


def _part(records: Sequence[ModelRecord], part: Part) -> list[ModelRecord]:
    return [record for record in records if record.part == part]


def _pairs(records: Sequence[ModelRecord], trigger: str) -> list[ModelRecord]:
    wanted = TRIGGERS[trigger]
    return [
        record
        for record in _part(records, "single target")
        if record.backdoor is not None and record.backdoor.trigger == wanted
    ]


def _clean_error(record: ModelRecord, counts: Floats) -> float:
    return 100 * sum(record.clean_wrong) / float(counts.sum())


def _backdoor_error(record: ModelRecord, counts: Floats) -> float:
    assert record.backdoor is not None and record.backdoor_wrong is not None
    label_map = record.backdoor.label_map
    images = counts[label_map.source] if isinstance(label_map, SingleTarget) else counts.sum()
    return 100 * sum(record.backdoor_wrong) / float(images)


def _per_class(wrong: Sequence[int], counts: Floats) -> list[float]:
    return [_round(100 * number / count) for number, count in zip(wrong, counts, strict=True)]


def _matrix(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else _round(value) for value in row] for row in values]


def _seconds(records: Sequence[ModelRecord]) -> float:
    return round(sum(record.seconds for record in records), 1)


def _round(value: float) -> float:
    return round(float(value), 3)
