"""The toy: its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from molehunt.plotting import COLOURS
from molehunt_studies.poison_toy.plan import LEARNERS

_COLOURS = dict(zip(LEARNERS, COLOURS, strict=False))
_MARKERS = {"digits": "o", "mnist": "s"}


def dose_curves(results: Mapping[str, Any]) -> Figure:
    """Draw the success of the backdoor by dose: a row a source, a column a cell."""
    sources = list(dict.fromkeys(cell["source"] for cell in results["cells"]))
    columns = list(dict.fromkeys((cell["trigger"], cell["C"]) for cell in results["cells"]))
    figure = Figure(figsize=(3.3 * len(columns), 2.9 * len(sources)), layout="constrained")
    grid = figure.subplots(len(sources), len(columns), squeeze=False, sharey=True)
    for row, source in zip(grid, sources, strict=True):
        for axes, column in zip(row, columns, strict=True):
            for cell in results["cells"]:
                if (cell["source"], (cell["trigger"], cell["C"])) != (source, column):
                    continue
                colour = _COLOURS[cell["learner"]]
                doses = range(len(cell["success"]))
                axes.plot(doses, cell["success"], color=colour, label=cell["learner"])
                predicted = cell["at_50"]["predicted_median"]
                if predicted is not None:
                    axes.axvline(predicted, color=colour, linestyle=":", linewidth=1.2)
            axes.set_title(f"{source}: {column[0]}, C = {column[1]:g}", fontsize=9)
            axes.set_xlim(left=0)
            axes.set_ylim(0, 1.02)
            axes.grid(color="#eeeeee")
        row[0].set_ylabel("attack success", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("poisoned images", fontsize=9)
    grid[0][0].legend(frameon=False, fontsize=7, loc="lower right")
    return figure


def law_figure(results: Mapping[str, Any]) -> Figure:
    """Draw measured doses over predicted ones; every growth is a point."""
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    seen = set()
    for cell in results["cells"]:
        found = cell["at_50"]
        pairs = [
            (predicted, measured)
            for predicted, measured in zip(found["predicted"], found["measured"], strict=True)
            if predicted is not None and measured is not None
        ]
        if not pairs:
            continue
        name = f"{cell['learner']}, {cell['source']}"
        predicted, measured = np.array(pairs).T
        axes.plot(
            predicted,
            measured,
            _MARKERS[cell["source"]],
            color=_COLOURS[cell["learner"]],
            markersize=5,
            alpha=0.7,
            label=None if name in seen else name,
        )
        seen.add(name)
    low, high = 0.1, 150
    line = np.array([low, high])
    axes.plot(line, line, color="#555555", linewidth=1)
    axes.fill_between(line, line / 2, line * 2, color="#eeeeee", zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(0.7, high)
    axes.set_xlabel("dose predicted from the clean classifier")
    axes.set_ylabel("dose with which half of the images turn")
    axes.legend(frameon=False, fontsize=8)
    return figure


def weight_pictures(
    weights: Mapping[str, NDArray[Any]], doses: Mapping[str, Sequence[int]]
) -> Figure:
    """Draw weights as images: a row a classifier, [doses, H, W], a column a dose."""
    columns = max(map(len, doses.values()))
    figure = Figure(figsize=(1.6 * columns + 0.8, 1.75 * len(weights)), layout="constrained")
    grid = figure.subplots(len(weights), columns, squeeze=False)
    for row, (name, pictures) in zip(grid, weights.items(), strict=True):
        limit = float(np.abs(pictures[list(doses[name])]).max())
        for axes in row:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_visible(False)
        for axes, dose in zip(row, doses[name], strict=False):
            axes.set_visible(True)
            axes.imshow(pictures[dose], cmap="PuOr", vmin=-limit, vmax=limit)
            axes.set_title(f"{dose} poisoned", fontsize=8)
        row[0].set_ylabel(name, fontsize=8)
    return figure
