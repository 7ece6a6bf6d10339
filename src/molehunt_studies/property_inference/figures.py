"""The study's figure: what each reader reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS


def auc_figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw each reader's AUC on each property, with its interval."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    names = [*results["properties"]]
    readers = [*results["properties"][names[0]]]
    for number, (reader, colour) in enumerate(zip(readers, COLOURS, strict=False)):
        found = [results["properties"][name][reader] for name in names]
        middles = [each["auc"] for each in found]
        below = [max(0.0, each["auc"] - each["interval"][0]) for each in found]
        above = [max(0.0, each["interval"][1] - each["auc"]) for each in found]
        places = [at + 0.15 * (number - (len(readers) - 1) / 2) for at in range(len(names))]
        axes.errorbar(places, middles, (below, above), fmt="o", color=colour, label=reader)
    axes.axhline(0.5, color="#888888", linestyle=":")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0.2, 1.05)
    axes.set_ylabel("AUC over the victims' models")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return {"auc": figure}
