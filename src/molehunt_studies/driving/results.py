"""From records to the figures of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molehunt.rates import rate_interval
from molehunt_studies.driving.episodes import EpisodeRecord
from molehunt_studies.driving.models import NetworkRecord
from molehunt_studies.driving.plan import CONDITIONS, SignName
from molehunt_studies.driving.scans import ScanRecord

_DRAWS = 10_000


def steering_errors(records: Sequence[NetworkRecord]) -> dict[str, Any]:
    """Return the errors of each kind of network, the mean over networks and each."""
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(record.kind for record in records):
        own = [record for record in records if record.kind == kind]
        sign: SignName = "made" if kind == "without data" else "painted"
        found[kind] = {
            "networks": len(own),
            "frames": own[0].frames,
            "error": _mean_of([record.error for record in own]),
            "signed_error": _mean_of([record.signed_error[sign] for record in own]),
            "signed_steering": _mean_of([record.signed_steering[sign] for record in own]),
            "painted_steering": _mean_of([record.signed_steering["painted"] for record in own]),
            "turned": [sum(r.turned[sign] for r in own), sum(r.frames for r in own)],
            "mixtures": {
                name: [
                    round(float(each), 4) for each in np.mean([r.mixtures[name] for r in own], 0)
                ]
                for name in own[0].mixtures
            },
            "seconds": _mean_of([record.seconds for record in own]),
        }
    return found


def closed_loop(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """Return how the episodes of each condition went, with 95 % intervals.

    Shares have exact intervals (Clopper and Pearson), means those of the bootstrap over
    episodes.
    """
    rows = []
    for kind, sign in CONDITIONS:
        own = [record for record in records if (record.kind, record.sign) == (kind, sign)]
        left = sum(record.left_road for record in own)
        after = [r.metres - r.sign_at for r in own if r.left_road and r.sign_at is not None]
        rows.append(
            {
                "kind": kind,
                "sign": sign,
                "episodes": len(own),
                "left_road": left,
                "left_interval": [round(end, 3) for end in rate_interval(left, len(own))],
                "laps": sum(record.lap for record in own),
                "metres": _with_interval([record.metres for record in own]),
                "tiles": _with_interval([record.tiles for record in own]),
                "seconds": _with_interval([record.seconds for record in own]),
                "metres_after_sign": _with_interval(after) if after else None,
            }
        )
    return rows


def said_of(records: Sequence[ScanRecord]) -> dict[str, Any]:
    """Return what scans said of each form of file, and whether it is the same of all networks."""
    found: dict[str, Any] = {}
    for record in records:
        content = record.model_dump(mode="json", include={"verdict", "exit_code", "words"})
        found.setdefault(record.form, {"said": {}})["said"][record.kind] = content
    for form in found.values():
        form["same"] = len({str(said) for said in form["said"].values()}) == 1
    return found


def _mean_of(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": round(float(np.mean(values)), 4), "each": list(values)}


def _with_interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean and its 95 % interval by the bootstrap, with a seed of its own."""
    numbers = np.array(values, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(numbers), (_DRAWS, len(numbers)))
    low, high = np.quantile(numbers[drawn].mean(1), [0.025, 0.975])
    return {
        "mean": round(float(numbers.mean()), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
    }
