"""The study's figures from its records."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from scipy import stats

from molehunt.attacks import Norm, SecurityCurve
from molehunt.rates import rate_interval
from molehunt.study import Records
from molehunt.testing import SEVERITIES, Strategy
from molehunt_studies.testing.bench import TestingBench
from molehunt_studies.testing.plan import LENETS
from molehunt_studies.testing.tests import BoundaryRecord, SearchRecord
from molehunt_studies.testing.twins import SIGNS, PairRecord


def percent(count: Sequence[int]) -> str:
    """Return a count as a share with its exact 95 % interval.

    Examples
    --------
    >>> percent((45, 60))
    '75 % [62, 85]'
    """
    hits, of = count
    low, high = rate_interval(hits, of)
    return f"{100 * hits / of:.0f} % [{100 * low:.0f}, {100 * high:.0f}]" if of else "-"


def signed(difference: Sequence[float]) -> str:
    """Return a difference with its interval, both with signs.

    Examples
    --------
    >>> signed((1.25, -0.5, 3.0))
    '+1.2 [-0.5, +3.0]'
    """
    mean, low, high = difference
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def measures(bench: TestingBench, records: Records) -> dict[str, Any]:
    """Return what every stage found."""
    networks = {each.id: each for each in records["networks"]}
    searches = [*records["searches"], *records["walks"]]
    return {
        "seed": bench.plan.seed,
        "plan": bench.plan.model_dump(mode="json"),
        "lenets": {name: (networks[name].correct, networks[name].tested) for name in LENETS},
        "networks": {
            name: {
                "train_images": networks[name].train_images,
                "accuracy": (networks[name].correct, networks[name].tested),
            }
            for name in bench.plan.sets
        },
        "differences": [each.model_dump(mode="json") for each in records["differences"]],
        "corners": {
            each.id: {
                "of": each.of,
                "right": each.right,
                "mean": {
                    name: round(sum(right[1:]) / (each.of * len(SEVERITIES)), 4)
                    for name, right in each.right.items()
                },
            }
            for each in records["corners"]
        },
        "boundary": {each.id: _boundary(each) for each in records["boundary"]},
        "coverage": {
            each.id: each.model_dump(mode="json")["shares"] for each in records["coverage"]
        },
        "searches": {name: _searches(searches, name) for name in bench.plan.searched},
        "twins": _twins(records),
        "pairs": {
            twins: _pairs([each for each in records["pairs"] if each.twins == twins])
            for twins in ("seed", "architecture")
        },
    }


def _boundary(record: BoundaryRecord) -> dict[str, Any]:
    found = {}
    for name, sizes in (("gradients", record.gradients), ("lines", record.lines)):
        values = [float("inf") if size is None else size for size in sizes]
        curve = SecurityCurve(Norm.L2, torch.tensor(values))
        middle = curve.median
        found[name] = {
            "median": round(middle, 4) if middle < float("inf") else None,
            "sizes": sizes,
        }
    return {**found, "third": record.third}


def _searches(records: Sequence[SearchRecord], name: str) -> dict[str, Any]:
    """Return what each strategy found, and its leads on random search and on the walk."""
    mine = [each for each in records if each.images == name]
    by = {(each.strategy, each.replicate): each.found for each in mine}
    found = {}
    for strategy in Strategy:
        own = [each for each in mine if each.strategy is strategy]
        found[strategy.value] = {
            "found": [each.found for each in own],
            "eligible": [each.eligible for each in own],
            "leads": {
                other.value: _mean_interval([e.found - by[other, e.replicate] for e in own])
                for other in (Strategy.RANDOM, Strategy.WALK)
                if other is not strategy
            },
            "kinds": round(statistics.fmean(each.kinds for each in own), 1),
            "kept": round(statistics.fmean(each.kept for each in own), 3),
            "seconds": round(statistics.median(each.seconds for each in own), 2),
            "passes": own[0].passes,
        }
    return found


def _mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return a mean with its 95 % interval by Student's t over replicates."""
    mean, count = statistics.fmean(values), len(values)
    error = statistics.stdev(values) / count**0.5
    width = float(stats.t.ppf(0.975, count - 1)) * error
    return round(mean, 3), round(mean - width, 3), round(mean + width, 3)


def _twins(records: Records) -> dict[str, Any]:
    kinds: dict[str, list[Any]] = {}
    for each in records["twins"]:
        kinds.setdefault(each.kind, []).append(each)
    return {
        kind: {
            "models": len(own),
            "accuracy": (sum(each.correct for each in own), sum(each.tested for each in own)),
            "obeyed": (sum(each.obeyed for each in own), sum(each.triggered for each in own)),
        }
        for kind, own in kinds.items()
    }


def _pairs(records: Sequence[PairRecord]) -> dict[str, Any]:
    """Return disagreement by the suspect's kind, and who is flagged above all calibration."""
    kinds = ("calibration", "clean", "backdoored")
    by_kind = {kind: [each for each in records if each.kind == kind] for kind in kinds}
    found: dict[str, Any] = {
        "triggered": {
            kind: [sum(part) for part in zip(*(each.triggered for each in own), strict=True)]
            for kind, own in by_kind.items()
        }
    }
    for sign in SIGNS:
        scores = {kind: [round(e.score(sign), 4) for e in own] for kind, own in by_kind.items()}
        threshold = max(scores["calibration"])
        found[sign] = {
            "scores": scores,
            "mean": {kind: round(statistics.fmean(own), 4) for kind, own in scores.items()},
            "threshold": threshold,
            "flagged": {
                kind: (sum(score > threshold for score in scores[kind]), len(scores[kind]))
                for kind in ("clean", "backdoored")
            },
        }
    return found
