"""Numbers on traffic signs, and how they are written, all in percent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# What our sets call the paper's kinds of signs, or have in their place.
STANDS_FOR = {"speedlimit": "speed limit", "crosswalk": "warning", "danger": "warning"}


def spread_of(values: Any) -> dict[str, Any]:
    """Return numbers, one a seed, with their mean, least and most."""
    numbers = [round(float(value), 2) for value in values]
    return {
        "mean": round(float(np.mean(values)), 2),
        "least": min(numbers),
        "most": max(numbers),
        "values": numbers,
    }


def best_strength(results: Mapping[str, Any]) -> str:
    """Return the k with the lowest accuracy with sticker among those that pass.

    A k passes when the clean accuracy is within 5 points of the honest network's; if none
    does, it is the smallest.
    """
    limit = results["transfer"]["honest"]["clean"]["average"]["mean"] - 5
    found = results["strengthening"]
    passing: list[str] = [k for k in found if found[k]["clean"]["average"]["mean"] >= limit]
    passing = passing or [*found][:1]
    return min(passing, key=lambda k: float(found[k]["triggered"]["average"]["mean"]))


def drop(found: Mapping[str, Any]) -> float:
    """Return how many points the sticker costs, by the means over seeds where there are some."""
    clean, triggered = (found[part]["average"] for part in ("clean", "triggered"))
    if isinstance(clean, Mapping):
        clean, triggered = clean["mean"], triggered["mean"]
    return float(clean - triggered)


def average(found: Mapping[str, Any]) -> str:
    """Return a measure's average in words."""
    return spread(found["average"])


def spread(found: Mapping[str, Any]) -> str:
    """Return a mean, with the least and most where there are several seeds."""
    if len(found["values"]) == 1:
        return f"{found['mean']:.1f}"
    return f"{found['mean']:.1f} ({found['least']:.1f} to {found['most']:.1f})"
