"""The figure of the study: the first alarm over the number of accounts, and the law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS

_TITLES = {"neighbours": "nearest neighbours", "any": "all four monitors"}


def account_figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw for each attack as it is when the first alarm comes, over numbers of accounts."""
    accounts = results["plan"]["accounts"]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    shown = [item for item in results["attacks"] if item["variant"] == "as it is"]
    for axes, (name, title) in zip(panels, _TITLES.items(), strict=True):
        for place, item in enumerate(shown):
            middles = [_middle(firsts) for firsts in item["firsts"][name]]
            known = [(n, m) for n, m in zip(accounts, middles, strict=True) if m < math.inf]
            style = "-" if place < len(COLOURS) else "--"
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(
                *zip(*known, strict=True) if known else ([], []),
                style,
                marker="o",
                markersize=3.5,
                color=colour,
                label=item["attack"],
            )
        if name == "neighbours":
            law = shown[0]["law"]
            axes.plot(accounts, law, ":", color="#555555", label="law: k queries an account")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("accounts")
        axes.set_title(title, fontsize=10)
        axes.grid(color="#eeeeee")
    panels[0].set_ylabel("query that raises the first alarm")
    panels[0].legend(frameon=False, fontsize=8)
    return {"accounts": figure}


def _middle(firsts: list[int | None]) -> float:
    ordered = sorted(math.inf if first is None else first for first in firsts)
    return ordered[len(ordered) // 2]
