"""The study of scanners: its figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS
from molehunt_studies.scanners.results import names_of


def auc_figure(results: Mapping[str, Any]) -> Figure:
    """Draw the AUC of each detector by zoo, with intervals."""
    zoos = [*results["zoos"]]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    series = {
        name: {zoo: results["detectors"][zoo].get(name) for zoo in zoos}
        for name in names_of(results)
    }
    series["litmus (fitted)"] = {zoo: results["litmus"].get(zoo) for zoo in zoos}
    width = 0.8 / len(series)
    for number, (name, found) in enumerate(series.items()):
        for place, zoo in enumerate(zoos):
            item = found[zoo]
            if item is None:
                continue
            x = place + (number - (len(series) - 1) / 2) * width
            low, high = item["interval"]
            axes.plot([x, x], [low, high], color=COLOURS[number], linewidth=2)
            label = name if place == 0 else None
            axes.plot([x], [item["auc"]], "o", color=COLOURS[number], label=label)
    axes.axhline(0.5, color="#555555", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(zoos)), zoos, fontsize=9)
    axes.set_ylabel("AUC, 95 % interval")
    axes.set_xlim(-0.5, len(zoos) - 0.5)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(fontsize=8, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.22))
    return figure
