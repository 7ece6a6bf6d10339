"""The study of eyeglasses: from records to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molehunt.networks import logits_of
from molehunt.rates import rate_interval
from molehunt_studies.eyeglasses.faces import KINDS, TRIED, FaceRecord, trial_name
from molehunt_studies.eyeglasses.models import EyeglassesBench, ModelRecord
from molehunt_studies.eyeglasses.signs import SignRecord

THRESHOLDS = (0.0, 0.5, 0.75, 0.85, 0.9, 0.95, 0.99)


def rate(hits: int, of: int) -> dict[str, Any]:
    """Return a rate with its exact 95 % interval."""
    low, high = rate_interval(hits, of)
    share = hits / of if of else None
    return {"rate": share, "interval": [round(low, 4), round(high, 4)], "hits": hits, "n": of}


def accuracies(records: Sequence[ModelRecord]) -> dict[str, Any]:
    """Return what each network gets right, and its seconds of training."""
    return {
        record.id: {**rate(record.right, record.images), "seconds": record.seconds}
        for record in records
    }


def faces_of(bench: EyeglassesBench, records: Sequence[FaceRecord]) -> dict[str, Any]:
    """Return the figures of each network."""
    by_id = {record.id: record for record in records}
    plan, found = bench.plan.faces, {}
    for network in plan.networks:
        names = {kind: f"{network} {kind}" for kind in KINDS}
        each = {
            "attacks": {
                kind: _attack(by_id[name]) for kind, name in names.items() if name in by_id
            },
            "thresholds": _thresholds(bench, network, by_id[names["impersonation"]]),
        }
        if network in plan.varied:
            rims = sorted({plan.rim, *plan.rims})
            each["areas"] = [_attack(by_id[f"{network} rim {rim:g}"]) for rim in rims]
            each["development"] = [
                {"settings": list(tried), **_attack(by_id[f"{network} {trial_name(tried)}"])}
                for tried in TRIED
            ]
        found[network] = each
    return found


def signs_of(records: Sequence[SignRecord]) -> dict[str, Any]:
    """Return the figures of each way to make a sticker."""
    return {
        record.id: {
            "fooled": {each.id: rate(each.hits, each.of) for each in record.measured},
            "clean": {each.id: rate(each.hits, each.of) for each in record.clean},
            "share": record.share,
            "signs": record.signs,
            "queries": record.queries,
            "seconds": record.seconds,
        }
        for record in records
    }


def _attack(record: FaceRecord) -> dict[str, Any]:
    found = {**rate(record.hits, record.attacked), "share": record.share}
    found |= {"queries": record.queries, "seconds": record.seconds}
    if record.possible is not None:
        found["ceiling"] = rate(record.possible, record.attacked)
    if record.asked:
        needed = [asked for asked, done in zip(record.asked, record.succeeded, strict=True) if done]
        found["median_queries"] = float(np.median(needed)) if needed else None
        found["most_queries"] = max(record.asked)
        # For the curve of success against queries.
        found["needed"] = sorted(needed)
    return found


def _thresholds(bench: EyeglassesBench, network: str, record: FaceRecord) -> list[dict[str, Any]]:
    """Return accepts and impersonations where the best class must pass a probability."""
    photographs = bench.photographs()
    answers = logits_of(bench.model(network), photographs.images).softmax(1)
    best, called = answers.max(1)
    right = called == photographs.labels
    chances = np.array(record.probabilities)
    found = []
    for threshold in THRESHOLDS:
        passed = best > threshold
        count = len(photographs)
        # Without a threshold the best class is taken.
        hits = int((chances > threshold).sum()) if threshold else record.hits
        found.append(
            {
                "threshold": threshold,
                "true_accepts": rate(int((passed & right).sum()), count),
                "false_accepts": rate(int((passed & ~right).sum()), count),
                "impersonation": rate(hits, record.attacked),
            }
        )
    return found


def best_linear(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the impersonation of the network whose ceiling is known."""
    attacks = [found["attacks"]["impersonation"] for found in results["faces"].values()]
    return next(attack for attack in attacks if "ceiling" in attack)


def closely_in(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the networks that were attacked by queries, too."""
    closely = results["plan"]["faces"]["closely"]
    return {name: found for name, found in results["faces"].items() if name in closely}


def varied_in(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the networks that were attacked with other frames and other settings, too."""
    return {name: found for name, found in results["faces"].items() if "areas" in found}
