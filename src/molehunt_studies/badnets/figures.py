"""BadNets on MNIST: its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from molehunt.arrays import Floats
from molehunt.backdoors import Trigger
from molehunt.images import ImageSet
from molehunt.plotting import NORMAL, SUBJECT


def heat_maps(found: Mapping[str, Any]) -> Figure:
    """Draw Figure 4: clean and backdoor error of each pair, source by row, target by column."""
    figure = Figure(figsize=(11, 4.9), layout="constrained")
    panels = figure.subplots(1, 2)
    # Blue is clean and orange backdoored, as in the other figures.
    looks = {
        "clean_error": ("clean error (%)", "Blues"),
        "backdoor_error": ("backdoor error (%)", "Oranges"),
    }
    for axes, (name, (title, colours)) in zip(panels, looks.items(), strict=True):
        values = np.array(found[name], dtype=np.float64)
        shown = axes.imshow(values, cmap=colormaps[colours].with_extremes(bad="#cccccc"))
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        for row, column in np.argwhere(~np.isnan(values)):
            value = values[row, column]
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if value > middle else "black",
            )
        axes.set_xticks(range(10))
        axes.set_yticks(range(10))
        axes.set_xlabel("target label")
        axes.set_ylabel("true label (source)")
        axes.set_title(title, fontsize=10)
        figure.colorbar(shown, ax=axes, shrink=0.85)
    return figure


def filter_figure(networks: Mapping[str, Floats], marked: Mapping[str, Sequence[int]]) -> Figure:
    """Draw Figure 5: first-layer filters [F, k, k] of each network, marked ones framed."""
    rows = 2 * len(networks)
    count = len(next(iter(networks.values())))
    columns = -(-count // 2)
    figure = Figure(figsize=(1.0 * columns + 0.9, 1.17 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    limit = max(float(np.abs(filters).max()) for filters in networks.values())
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    shown = None
    for place, (name, filters) in enumerate(networks.items()):
        pair = grid[2 * place : 2 * place + 2]
        pair[0][0].set_title(name, loc="left", fontsize=10)
        for number, (axes, kernel) in enumerate(zip(pair.flat, filters, strict=False)):
            shown = axes.imshow(kernel, cmap="PuOr", vmin=-limit, vmax=limit)
            axes.set_xlabel(str(number), fontsize=7, labelpad=1)
            if number in marked.get(name, ()):
                for side in axes.spines.values():
                    side.set(color=SUBJECT, linewidth=3.5)
                axes.xaxis.label.set(color=SUBJECT, weight="bold")
    if shown is not None:
        figure.colorbar(shown, ax=grid, shrink=0.5, label="weight", pad=0.02)
    return figure


def response_bars(responses: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draw each filter's response to the trigger, beside those of the clean network.

    Parameters
    ----------
    responses : mapping
        For each network its filters' responses and the clean network's.
    """
    figure = Figure(figsize=(9, 2.3 * len(responses)), layout="constrained")
    panels = figure.subplots(len(responses), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, (values, honest)) in zip(panels, responses.items(), strict=True):
        places = np.arange(len(values))
        axes.bar(places - 0.2, honest, 0.4, color=NORMAL, label="clean network")
        axes.bar(places + 0.2, values, 0.4, color=SUBJECT, label="BadNet")
        limit = max(honest)
        axes.axhline(
            limit, color="#555555", linestyle="--", linewidth=1, label="largest, clean network"
        )
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_ylabel("response to the trigger")
        axes.set_xticks(places)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].legend(
        frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0
    )
    panels[-1].set_xlabel("first-layer filter")
    return figure


def rate_figure(points: Sequence[Mapping[str, Any]], honest: float) -> Figure:
    """Draw Figure 6: clean and backdoor error over the share of backdoored images."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    shares = [point["share"] for point in points]
    for name, colour, marker in (("clean", NORMAL, "o"), ("backdoor", SUBJECT, "s")):
        axes.errorbar(
            shares,
            [point[f"{name}_error"] for point in points],
            [point[f"{name}_std"] for point in points],
            color=colour,
            marker=marker,
            capsize=4,
            label=f"{name} error",
        )
    axes.axhline(honest, color="#555555", linestyle="--", linewidth=1, label="baseline, clean")
    axes.set_xlabel("backdoored images in the poisoned training set (%)")
    axes.set_ylabel("error on test images (%)")
    axes.set_xticks(shares, [f"{share:.0f}" for share in shares])
    axes.set_ylim(bottom=0)
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False)
    return figure


def trigger_figure(image: ImageSet, triggers: Mapping[str, Trigger]) -> Figure:
    """Draw Figure 3: one image as it is and with each trigger on it."""
    figure = Figure(figsize=(2.6 * (1 + len(triggers)), 2.9), layout="constrained")
    panels = figure.subplots(1, 1 + len(triggers))
    pixels = image.pixels()[:1]
    shown = {"original image": pixels} | {
        name: trigger(pixels, torch.Generator().manual_seed(0))
        for name, trigger in triggers.items()
    }
    for axes, (name, picture) in zip(panels, shown.items(), strict=True):
        axes.imshow(picture[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        if name != "original image":
            corner = Rectangle((22.5, 22.5), 4.9, 4.9, fill=False, edgecolor=SUBJECT)
            axes.add_patch(corner)
    return figure
