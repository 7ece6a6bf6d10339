"""The figure of the study: what each attack leaves of each defence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS, new_figure
from molehunt_studies.broken_defences.defences import DEFENCES

SHOWN = {
    "clean": ("no attack", "s", "#999999"),
    "usual": ("gradient of the model as it is", "o", COLOURS[0]),
    "transfer": ("transfer", "^", COLOURS[4]),
    "decision": ("labels only", "D", COLOURS[3]),
    "adaptive": ("adaptive", "o", COLOURS[1]),
}


def left_figure(results: Mapping[str, Any]) -> Figure:
    """Draw the accuracy that each attack leaves, a row a defence, a panel a set of images."""
    sets = results["sets"]
    figure = new_figure(4.2 * len(sets) + 1.8, 4.6)
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    names = [*DEFENCES]
    for axes, (images, found) in zip(panels, sets.items(), strict=True):
        for row, name in enumerate(names):
            for attack, (label, marker, colour) in SHOWN.items():
                item = found["defences"][name].get(attack)
                if item is None:
                    continue
                if attack == "adaptive":
                    axes.plot(item["interval"], [row, row], color=colour, linewidth=2)
                axes.plot(
                    [item["rate"]],
                    [row],
                    marker,
                    color=colour,
                    markersize=6,
                    label=label if row == 1 else None,
                    linestyle="none",
                )
        axes.set_title(f"{images}, ε = {found['epsilon']:.3g}", fontsize=10)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("accuracy")
        axes.grid(color="#eeeeee")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(names)), [DEFENCES[name].title for name in names], fontsize=9)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(SHOWN), frameon=False, fontsize=9, loc="lower center")
    figure.subplots_adjust(bottom=0.17, left=0.22, right=0.98, top=0.93, wspace=0.06)
    return figure
