"""The report on traffic signs, of which each study writes a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.study import Report
from molehunt_studies.signs import words
from molehunt_studies.signs.figures import activation_figure, strength_figure

PARTS = {"detector": "detector", "gtsrb_twin": "gtsrb"}  # with the first word of their figures


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results of all parts."""
    drawn = {}
    for part, name in PARTS.items():
        found = results.get(part, {})
        if "activations" in found:
            drawn[f"{name}-activations"] = activation_figure(found["activations"])
        if "strengthening" in found:
            drawn[f"{name}-strength"] = strength_figure(
                found["strengthening"], REPORT.paper["strengthening"], found["transfer"]["honest"]
            )
    return drawn


REPORT = Report(
    package="molehunt_studies.signs",
    figures=figures_of,
    words={
        "average": words.average,
        "best_strength": words.best_strength,
        "drop": words.drop,
        "spread": words.spread,
        "stands_for": words.STANDS_FOR,
    },
    parts=tuple(PARTS),
)
