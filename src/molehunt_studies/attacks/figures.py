"""The table as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import new_figure


def table_figure(results: Mapping[str, Any]) -> Figure:
    """Return AUCs by attack and detector: the attack known on the left, left out on the right."""
    attacks = results["attacks"]
    parts = {"known": results["detectors"], "left_out": results["learning"]}
    titles = {"known": "attack among those learned from", "left_out": "attack left out"}
    figure = new_figure(9, 1.6 + 0.3 * len(attacks))
    panels = figure.subplots(
        1, 2, sharey=True, width_ratios=[len(names) for names in parts.values()]
    )
    for panel, (part, names) in zip(panels, parts.items(), strict=True):
        cells = [[attacks[attack][part][name] for name in names] for attack in attacks]
        values = [[nan if cell is None else cell["auc"] for cell in row] for row in cells]
        panel.imshow(values, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
        for down, row in enumerate(values):
            for across, value in enumerate(row):
                text = "-" if isnan(value) else f"{value:.2f}"
                panel.text(across, down, text, ha="center", va="center", fontsize=8)
        panel.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
        panel.set_yticks(range(len(attacks)), [*attacks], fontsize=8)
        panel.set_title(titles[part], fontsize=9)
    figure.tight_layout()
    return figure
