"""From attacks to the figures of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molehunt.rates import rate_interval
from molehunt_studies.evasion_toy.attacked import DENSE, LIBRARY, SPARSE, LearnerRecord

# Whose security curve is drawn, and over which size of changes.
CURVES = {
    **dict.fromkeys((*SPARSE, LIBRARY[2]), "l0"),
    **dict.fromkeys((*DENSE, LIBRARY[1]), "linf"),
}


def results_of(records: Sequence[LearnerRecord], epsilons: Sequence[float]) -> dict[str, Any]:
    """Return the figures of each set of images and learner, and how often greedy wins."""
    learners: dict[str, dict[str, Any]] = {}
    for record in records:
        figures = {name: _figures(each, epsilons) for name, each in record.attacks.items()}
        for name, norm in CURVES.items():
            figures[name]["sizes"] = record.attacks[name]["sizes"][norm]
        learners.setdefault(record.images, {})[record.learner] = {
            "accuracy": round(record.accuracy, 4),
            "attacks": figures,
            "better": _compare(figures),
            "seconds": record.seconds,
        }
    return {
        "learners": learners,
        "wins": {images: _wins(found) for images, found in learners.items()},
        "epsilons": list(epsilons),
        "core_minutes": round(sum(record.seconds for record in records) / 60, 1),
    }


def _figures(found: Mapping[str, Any], epsilons: Sequence[float]) -> dict[str, Any]:
    low, high = rate_interval(found["changed"], found["attacked"])
    figures = {
        **{name: found[name] for name in ("attacked", "changed")},
        "interval": [round(low, 3), round(high, 3)],
    }
    if "sizes" in found:
        sizes = found["sizes"]
        figures["median"] = {
            norm: float(np.median(values)) if values else None for norm, values in sizes.items()
        }
        figures["within"] = {
            f"{epsilon:g}": sum(value <= epsilon + 1e-6 for value in sizes["linf"])
            for epsilon in epsilons
        }
        figures.update({name: found[name] for name in ("queries", "seconds")})
    return figures


def _compare(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Return in what the greedy attacks by labels beat the library's, at no lower success."""

    def beats(ours: str, theirs: str, norm: str | None) -> bool:
        a, b = figures[ours], figures[theirs]
        if not a["changed"] or a["changed"] < b["changed"] - 0.02 * b["attacked"]:
            return False
        if norm is None:
            return bool(a["queries"] < b["queries"])
        return not b["changed"] or bool(a["median"][norm] < b["median"][norm])

    hop, hop_linf, pointwise = LIBRARY
    return {
        "fewer pixels than HopSkipJump": beats(SPARSE[0], hop, "l0"),
        "fewer queries than HopSkipJump": beats(SPARSE[0], hop, None),
        "fewer pixels than pointwise": beats(SPARSE[0], pointwise, "l0"),
        "fewer queries than pointwise": beats(SPARSE[0], pointwise, None),
        "smaller L∞ than HopSkipJump": beats(DENSE[0], hop_linf, "linf"),
        "dense, fewer queries than HopSkipJump": beats(DENSE[0], hop_linf, None),
    }


def _wins(learners: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return of how many learners each comparison holds."""
    each = [found["better"] for found in learners.values()]
    counts = {name: sum(found[name] for found in each) for name in each[0]}
    return {**counts, "learners": len(each)}


def share(found: Mapping[str, Any]) -> str:
    """Return a success rate with its interval, for a table.

    Examples
    --------
    >>> share({"attacked": 200, "changed": 150, "interval": [0.684, 0.808]})
    '75.0 % [68, 81]'
    """
    if not found["attacked"]:
        return "-"
    low, high = (round(100 * bound) for bound in found["interval"])
    return f"{found['changed'] / found['attacked']:.1%}".replace("%", f" % [{low}, {high}]")
