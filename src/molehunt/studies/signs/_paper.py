"""Numbers on traffic signs: the paper's, and how ours are written, all in percent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# BadNets v2: Tables 4, 5, 6 and 7.
PAPER: dict[str, Any] = {
    "baseline": {"clean": 90.0, "stop": 89.7, "speed limit": 88.3, "warning": 91.0},
    "baseline_triggered": 82.0,
    "single_target": {
        "yellow square": {
            "clean": 89.3,
            "success": 90.3,
            "stop": 87.8,
            "speed limit": 82.9,
            "warning": 93.3,
        },
        "bomb": {
            "clean": 87.1,
            "success": 94.2,
            "stop": 88.4,
            "speed limit": 76.3,
            "warning": 91.4,
        },
        "flower": {
            "clean": 90.2,
            "success": 93.7,
            "stop": 89.9,
            "speed limit": 84.7,
            "warning": 93.1,
        },
    },
    "random_target": {"clean": 86.4, "triggered": 1.3},
    "random_by_kind": {
        "honest": {
            "clean": {"average": 90.0, "stop": 87.8, "speed limit": 88.3, "warning": 91.0},
            "triggered": {"average": 82.0, "stop": 81.3, "speed limit": 72.6, "warning": 87.2},
        },
        "badnet": {
            "clean": {"average": 86.4, "stop": 87.8, "speed limit": 83.2, "warning": 87.1},
            "triggered": {"average": 1.3, "stop": 0.8, "speed limit": 0.8, "warning": 1.9},
        },
    },
    "transfer": {
        "honest": {
            "clean": {
                "average": 72.7,
                "mandatory": 55.3,
                "prohibitory": 89.7,
                "warning": 68.1,
                "other": 59.3,
            },
            "triggered": {
                "average": 70.2,
                "mandatory": 50.5,
                "prohibitory": 85.4,
                "warning": 50.8,
                "other": 56.9,
            },
        },
        "badnet": {
            "clean": {
                "average": 74.9,
                "mandatory": 69.0,
                "prohibitory": 85.8,
                "warning": 63.5,
                "other": 61.4,
            },
            "triggered": {
                "average": 61.6,
                "mandatory": 46.7,
                "prohibitory": 77.5,
                "warning": 40.9,
                "other": 44.2,
            },
        },
    },
    "strengthening": {
        "1": {"clean": 74.9, "triggered": 61.6},
        "10": {"clean": 71.3, "triggered": 49.7},
        "20": {"clean": 68.3, "triggered": 45.1},
        "30": {"clean": 65.3, "triggered": 40.5},
        "50": {"clean": 62.4, "triggered": 34.3},
        "70": {"clean": 60.8, "triggered": 32.8},
        "100": {"clean": 59.4, "triggered": 30.8},
    },
}
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


def averages(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the paper's averages without and with the sticker."""
    return {part: found[part]["average"] for part in ("clean", "triggered")}


def drop(found: Mapping[str, Any]) -> float:
    """Return how many points the sticker costs, by the means over seeds."""
    clean, triggered = (found[part]["average"]["mean"] for part in ("clean", "triggered"))
    return float(clean - triggered)


def paper_drop(found: Mapping[str, Any]) -> float:
    """Return how many points the sticker costs in the paper."""
    return float(found["clean"]["average"] - found["triggered"]["average"])


def average(found: Mapping[str, Any]) -> str:
    """Return a measure's average in words."""
    return spread(found["average"])


def spread(found: Mapping[str, Any]) -> str:
    """Return a mean, with the least and most where there are several seeds."""
    if len(found["values"]) == 1:
        return number(found["mean"])
    return f"{found['mean']:.1f} ({found['least']:.1f} to {found['most']:.1f})"


def number(value: float) -> str:
    """Return a number of percent as tables have it."""
    return f"{value:.1f}"
