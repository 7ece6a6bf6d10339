"""The study of poison that passes a filter: its figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS


def losses(results: Mapping[str, Any]) -> Figure:
    """Draw bounds and what attacks reached over the share of poison."""
    plan, cells = results["plan"], results["cells"]
    figure = Figure(figsize=(4.2 * len(plan["pairs"]), 3.6), layout="constrained")
    panels = figure.subplots(1, len(plan["pairs"]), squeeze=False, sharey=True)[0]
    for axes, (a, b) in zip(panels, plan["pairs"], strict=True):
        for colour, norm in zip(COLOURS, plan["norms"], strict=False):
            own = [c for c in cells if c["pair"] == [a, b] and c["norm"] == norm]
            shares = [100 * c["share"] for c in own]
            axes.plot(
                shares,
                [c["bound"] for c in own],
                color=colour,
                marker="o",
                markersize=4,
                label=f"bound, |w| up to {norm:g}",
            )
            axes.plot(
                shares,
                [c["reached"] for c in own],
                color=colour,
                marker="x",
                linestyle="--",
                label=f"reached, |w| up to {norm:g}",
            )
        axes.set_title(f"{a} v {b}", fontsize=10)
        axes.set_xlabel("poisoned images for 100 clean ones")
        axes.grid(color="#eeeeee")
    panels[0].set_ylabel("hinge loss a clean image")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
