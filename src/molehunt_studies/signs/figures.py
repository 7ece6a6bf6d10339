"""The studies of traffic signs: their figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from molehunt.arrays import Floats
from molehunt.images import ImageSet
from molehunt.plotting import NORMAL, SUBJECT
from molehunt_studies.signs.plan import PICTURES
from molehunt_studies.signs.twin_models import TwinBench, with_sticker


def sticker_figure(bench: TwinBench) -> Figure:
    """Draw the paper's Figure 7: a sign of each country as it is and with each sticker."""
    first = bench.first.test
    stops = first.take(
        first.labels == bench.plan.countries.first.index(bench.plan.countries.source)
    )
    rows = [_most_colourful(stops), _most_colourful(bench.second.test)]
    figure = Figure(figsize=(8.4, 4.5), layout="constrained")
    grid = figure.subplots(len(rows), 1 + len(PICTURES))
    for row, (panels, sign) in enumerate(zip(grid, rows, strict=True)):
        shown = {"as it is": sign}
        shown |= {each: with_sticker(sign, bench.plan.sticker_of(each)) for each in PICTURES}
        for axes, (name, image) in zip(panels, shown.items(), strict=True):
            axes.imshow(image.images[0].permute(1, 2, 0).numpy())
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(name, fontsize=10)
        panels[0].set_ylabel(sign.class_names[int(sign.labels[0])], fontsize=10)
    return figure


def activation_figure(found: Mapping[str, Any]) -> Figure:
    """Draw the paper's Figures 9 and 11: channels without the sticker, with it, and between.

    Parameters
    ----------
    found : mapping
        ``first`` and, if there is one, ``second`` country's mean activations, and the backdoor
        ``units``.
    """
    titles = {name: f"{name} country" for name in ("first", "second") if name in found}
    figure = Figure(figsize=(9.2, 2.8 * len(titles)), layout="constrained")
    grid = figure.subplots(len(titles), 3, squeeze=False)
    for panels, (country, title) in zip(grid, titles.items(), strict=True):
        clean, triggered = (np.array(found[country][name]) for name in ("clean", "triggered"))
        change = triggered - clean
        highest, furthest = max(clean.max(), triggered.max()), np.abs(change).max()
        scales = [(0.0, highest, "viridis")] * 2 + [(-furthest, furthest, "PuOr_r")]
        names = ("without sticker", "with sticker", "difference")
        for axes, values, (low, high, colours), name in zip(
            panels, (clean, triggered, change), scales, names, strict=True
        ):
            shown = axes.imshow(_grid(values), cmap=colours, vmin=low, vmax=high)
            axes.set_title(f"{title}, {name}", fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            figure.colorbar(shown, ax=axes, shrink=0.85)
            seen = "black" if name == "difference" else SUBJECT
            _frame(axes, found["units"], _grid(values).shape[1], seen)
    return figure


def strength_figure(
    ours: Mapping[str, Any], paper: Mapping[str, Any], honest: Mapping[str, Any]
) -> Figure:
    """Draw Table 7: accuracy over the strength k, with the range over seeds."""
    figure = Figure(figsize=(6.8, 4.4), layout="constrained")
    axes = figure.subplots()
    strengths = [float(k) for k in ours]
    theirs = [float(k) for k in paper]
    for name, colour, marker in (("clean", NORMAL, "o"), ("triggered", SUBJECT, "s")):
        label = "without sticker" if name == "clean" else "with sticker"
        spreads = [ours[k][name]["average"] for k in ours]
        middle = [each["mean"] for each in spreads]
        bars = [
            [each["mean"] - each["least"] for each in spreads],
            [each["most"] - each["mean"] for each in spreads],
        ]
        axes.errorbar(
            strengths, middle, bars, color=colour, marker=marker, capsize=4, label=f"ours, {label}"
        )
        axes.plot(
            theirs,
            [paper[k][name] for k in paper],
            color=colour,
            marker=marker,
            fillstyle="none",
            linestyle="--",
            linewidth=1,
            label=f"paper, {label}",
        )
        axes.axhline(
            honest[name]["average"]["mean"],
            color=colour,
            linestyle=":",
            label=f"ours, honest network, {label}",
        )
    axes.set_xscale("log")
    axes.set_xticks(theirs, [f"{k:g}" for k in theirs], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("backdoor strength k")
    axes.set_ylabel("accuracy in the second country (%)")
    axes.set_ylim(0, 102)
    axes.grid(color="#eeeeee")
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside lower center")
    return figure


def _most_colourful(images: ImageSet) -> ImageSet:
    """Return the image with the purest colours: many signs are in the shade or against light."""
    pixels = images.pixels()
    return images.take((pixels.amax(1) - pixels.amin(1)).mean((1, 2)).argmax()[None])


def _grid(values: Floats) -> Floats:
    """Return the channels in rows, as near to a square as can be."""
    rows = math.isqrt(len(values))
    while len(values) % rows:
        rows -= 1
    return values.reshape(rows, -1)


def _frame(axes: Any, units: list[int], columns: int, colour: str) -> None:
    for unit in units:
        row, column = divmod(unit, columns)
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=colour, linewidth=1.8))
