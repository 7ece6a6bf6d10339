"""Detection over the attacker's weight on the detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS, new_figure


def curve_figure(results: Mapping[str, Any]) -> Figure:
    """Return one panel for each detector that attackers know: every detector's AUC, and success."""
    rows = results["rows"]
    evaded = [*dict.fromkeys(row["evaded"] for row in rows[1:] if "taught" not in row["evaded"])]
    figure = new_figure(3.6 * len(evaded), 3.2)
    for place, name in enumerate(evaded):
        panel = figure.add_subplot(1, len(evaded), place + 1)
        own = [rows[0], *(row for row in rows if row["evaded"] == name)]
        at = range(len(own))
        for colour, detector in zip(COLOURS, results["detectors"], strict=False):
            values = [row["detectors"][detector]["auc"] for row in own]
            width = 2.5 if detector in name.split(" + ") else 1.2
            panel.plot(at, values, "o-", color=colour, lw=width, ms=3, label=detector)
        success = [row["success"] for row in own]
        panel.plot(at, success, "k:", label="attack success")
        panel.set_xticks(at, [f"{row['strength']:g}" for row in own])
        panel.set_ylim(0, 1.03)
        panel.set_xlabel("weight λ of the detector")
        panel.set_title(f"attackers who know: {name}", fontsize=9)
        if not place:
            panel.set_ylabel("AUC")
    figure.tight_layout()
    lines, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        lines, names, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
    )
    return figure
