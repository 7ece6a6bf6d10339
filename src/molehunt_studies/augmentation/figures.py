"""Learning curves with and without each augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS, new_figure


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the learning curves of each image set."""
    return {f"curves-{part}": _curves(found) for part, found in results.items()}


def _curves(found: Mapping[str, Any]) -> Figure:
    """Return AUC over the number of fitting models; faint lines are the single seeds."""
    figure = new_figure(9, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, (zoo, curves) in zip(panels, found["curves"].items(), strict=True):
        for colour, (kind, cells) in zip(COLOURS, curves.items(), strict=False):
            at = range(len(cells))
            each = [*cells.values()]
            panel.plot(at, [c["auc"] for c in each], "o-", color=colour, ms=3, label=kind)
            for seed in range(found["seeds"]):
                one = [c["seeds"][seed] for c in each]
                panel.plot(at, one, color=colour, lw=0.7, alpha=0.3)
        panel.axhline(0.5, color="#888888", linestyle=":")
        panel.set_xticks(at, [*cells])
        panel.set_xlabel("models that were fitted on")
        panel.set_title(f"test models: {found['zoos'][zoo]['network']}", fontsize=9)
    panels[0].set_ylabel("AUC")
    panels[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    return figure
