"""The tables as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import new_figure


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Return a heat map for each image set."""
    return {f"table-{part}": _heat_map(found) for part, found in results.items()}


def _heat_map(found: Mapping[str, Any]) -> Figure:
    """Return AUCs by attack and detector: attack learned from, left out, and placebos."""
    attacks = found["attacks"]
    panels = {
        "known": ("attack in the fit", found["detectors"]),
        "left_out": ("attack left out of the fit", found["learning"]),
        "placebo": ("placebos: trigger, true labels", found["detectors"]),
    }
    widths = [len(names) for _, names in panels.values()]
    figure = new_figure(12, 1.6 + 0.3 * len(attacks))
    axes = figure.subplots(1, len(panels), sharey=True, width_ratios=widths)
    for axis, (part, (title, names)) in zip(axes, panels.items(), strict=True):
        cells = [[each[part][name] for name in names] for each in attacks.values()]
        values = [[_value(cell) for cell in row] for row in cells]
        axis.imshow(values, vmin=0, vmax=1, cmap="RdBu_r", aspect="auto")
        for down, row in enumerate(values):
            for across, value in enumerate(row):
                text = "-" if isnan(value) else f"{value:.2f}"
                colour = "white" if abs(value - 0.5) > 0.35 else "black"
                axis.text(across, down, text, ha="center", va="center", fontsize=8, color=colour)
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
        axis.set_yticks(range(len(attacks)), [*attacks], fontsize=8)
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    return figure


def _value(cell: Mapping[str, Any] | None) -> float:
    return nan if cell is None or cell["auc"] is None else cell["auc"]
