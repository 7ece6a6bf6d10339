"""The study of support vector machines: its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from molehunt.plotting import COLOURS, SUBJECT
from molehunt_studies.svm_poisoning.results import contaminations

_LOOKS = {
    "attack": (SUBJECT, "o"),
    "flipped labels, in place": (COLOURS[0], "s"),
    "flipped labels, added": (COLOURS[5], "^"),
    "worst of 25 images": (COLOURS[2], "v"),
    "noise": (COLOURS[3], "D"),
}
_DEFENCES = dict(zip(("RONI", "trimmed loss", "neighbours' labels"), COLOURS[2:5], strict=True))


def error_curves(results: Mapping[str, Any], kernel: str) -> Figure:
    """Draw the paper's Figure 3: error over the share of poison, with standard deviations."""
    pairs = results["kernels"][kernel]
    shares = contaminations(results)
    figure = Figure(figsize=(4.2 * len(pairs), 3.8), layout="constrained")
    panels = figure.subplots(1, len(pairs), squeeze=False, sharey=True)[0]
    for axes, (pair, found) in zip(panels, pairs.items(), strict=True):
        for number, (name, (colour, marker)) in enumerate(_LOOKS.items()):
            if name not in found["errors"]:
                continue
            points = found["errors"][name]
            means = np.array([point["mean"] for point in points])
            spread = np.array([point["std"] for point in points])
            axes.errorbar(
                np.array(shares) + 0.06 * (number - 2),
                means,
                [np.minimum(spread, means), spread],
                color=colour,
                marker=marker,
                markersize=4,
                capsize=2,
                linewidth=1.3,
                elinewidth=0.8,
                label=name,
            )
        axes.set_title(f"{pair}, {found['draws']} draws", fontsize=10)
        axes.set_xlabel("poison in the training set (%)")
        axes.grid(color="#eeeeee")
    # The panels share it; set earlier, it would stop following the data.
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("error on test images (%)")
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def defence_curves(results: Mapping[str, Any]) -> Figure:
    """Draw the error behind each defence over the number of attack points."""
    pairs = results["kernels"]["linear"]
    doses = results["plan"]["defended"]
    figure = Figure(figsize=(4.2 * len(pairs), 3.8), layout="constrained")
    panels = figure.subplots(1, len(pairs), squeeze=False, sharey=True)[0]
    for axes, (pair, found) in zip(panels, pairs.items(), strict=True):
        undefended = [found["errors"]["attack"][points] for points in doses]
        series = {"no defence": undefended} | {
            name: [by_points[str(points)] for points in doses]
            for name, by_points in found["defended"].items()
        }
        for number, (name, points) in enumerate(series.items()):
            means = np.array([point["mean"] for point in points])
            spread = np.array([point["std"] for point in points])
            axes.errorbar(
                np.array(doses) + 0.06 * (number - 1.5),
                means,
                [np.minimum(spread, means), spread],
                color=_DEFENCES.get(name, SUBJECT),
                marker="o",
                markersize=4,
                capsize=2,
                linewidth=1.3,
                elinewidth=0.8,
                label=name,
            )
        axes.set_title(pair, fontsize=10)
        axes.set_xlabel("attack points")
        axes.set_xticks(doses)
        axes.grid(color="#eeeeee")
    # The panels share it; set earlier, it would stop following the data.
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("error on test images (%)")
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def points_figure(points: Mapping[str, NDArray[np.uint8]], most: int = 3) -> Figure:
    """Draw attack points, uint8 [2, P, D], before and after: a row for each name."""
    shown = min(most, *(each.shape[1] for each in points.values()))
    figure = Figure(figsize=(2.6 * shown, 1.55 * len(points)), layout="constrained")
    grid = figure.subplots(len(points), 2 * shown, squeeze=False)
    for line, (name, both) in enumerate(points.items()):
        row = grid[line]
        side = round(both.shape[2] ** 0.5)
        for number in range(shown):
            for place, when in enumerate(("before", "after")):
                axes = row[2 * number + place]
                axes.imshow(both[place, number].reshape(side, side), cmap="gray", vmin=0, vmax=255)
                axes.set_xticks([])
                axes.set_yticks([])
                if line == 0:
                    axes.set_title(f"{number + 1}: {when}", fontsize=8)
        row[0].set_ylabel(name, fontsize=8)
    return figure
