"""The study's figures: whom the judge recognises, and digits as they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from molehunt.plotting import COLOURS
from molehunt.rates import rate_interval
from molehunt_studies.inversion.plan import DIGITS
from molehunt_studies.inversion.results import table_of, unpack


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what is recognised of each set, and digits where there are some."""
    drawn = {name: _recognised(found) for name, found in results["sets"].items()}
    if DIGITS in results["sets"]:
        drawn["drawn"] = _digits(results["sets"][DIGITS])
    return drawn


def _recognised(found: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    axes = figure.subplots()
    rows = table_of(found["inversions"], "attack")
    networks = [name for name in found["errors"] if name != "judge"]
    for number, (network, colour) in enumerate(zip(networks, COLOURS, strict=False)):
        for place, cells in enumerate(rows.values()):
            if network not in cells:
                continue
            cell = cells[network]
            rate = cell["recognised"] / cell["classes"]
            low, high = rate_interval(cell["recognised"], cell["classes"])
            axes.errorbar(
                rate,
                -(place + 0.2 * (number - (len(networks) - 1) / 2)),
                xerr=[[max(0.0, rate - low)], [max(0.0, high - rate)]],
                fmt="o",
                color=colour,
                label=network if place == 0 else None,
            )
    axes.set_yticks([-place for place in range(len(rows))], [*rows])
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("recognised by the judge, 95 % interval")
    axes.axvline(1 / found["classes"], color="#888888", linestyle=":")
    axes.grid(axis="x", color="#eeeeee")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _digits(found: Mapping[str, Any]) -> Figure:
    """Draw the digits of each attack, a panel a network."""
    shape = found["shape"][1:]
    rows = table_of(found["inversions"], "attack")
    networks = [name for name in found["errors"] if name != "judge"]
    figure = Figure(figsize=(11, 0.42 * len(rows) + 0.6), layout="constrained")
    panels = figure.subplots(len(rows), len(networks), squeeze=False)
    for line, (attack, cells) in zip(panels, rows.items(), strict=True):
        for axes, network in zip(line, networks, strict=True):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_frame_on(False)
            if network in cells:
                pictures = unpack(cells[network]["pictures"], shape[0] * shape[1])
                strip = np.hstack([picture.reshape(shape) for picture in pictures])
                axes.imshow(strip, cmap="gray", vmin=0, vmax=255)
        line[0].set_ylabel(attack, rotation=0, ha="right", va="center", fontsize=8)
    for axes, network in zip(panels[0], networks, strict=True):
        axes.set_title(network, fontsize=9)
    return figure
