"""The study of Universal Litmus Patterns: its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from molehunt.arrays import Floats
from molehunt.backdoors import Trigger
from molehunt.plotting import COLOURS
from molehunt.report import trigger_on_grey

Results = Mapping[str, Any]
NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "gtsrb": "GTSRB"}


def figures_of(results: Results) -> dict[str, Figure]:
    """Draw what follows from the results of all sets."""
    drawn = {"roc": roc_figure(results), "curve": curve_figure(results)}
    for name, found in results.items():
        if found["poison"]:
            drawn[f"poison-{name}"] = poison_figure(found)
        if found["carries"]:
            drawn[f"carries-{name}"] = carries_figure(found)
    return drawn


def roc_figure(results: Results) -> Figure:
    """Draw Figure 5: ROC curves, a panel for each image set."""
    figure = Figure(figsize=(4.2 * len(results), 4.4), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (name, found) in zip(panels, results.items(), strict=True):
        curves = {
            **{f"litmus, M = {count}": roc for count, roc in found["litmus"]["roc"].items()},
            "noise, M = 10": found["noise"]["roc"]["10"],
            **{
                title: found[key]["roc"]
                for key, title in (
                    ("baseline", "baseline"),
                    ("neural_cleanse", "Neural Cleanse"),
                )
                if key in found
            },
        }
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
        for colour, (label, roc) in zip(COLOURS, curves.items(), strict=False):
            axes.step(*roc, where="post", color=colour, label=label)
        axes.set_title(NAMES.get(name, name), fontsize=10)
        axes.set_xlabel("false-alarm rate")
        axes.set_ylabel("detection rate")
        axes.set_aspect("equal")
        axes.legend(loc="lower right", frameon=False, fontsize=8)
        axes.grid(color="#eeeeee")
    return figure


def curve_figure(results: Results) -> Figure:
    """Draw the learning curves: AUC of ten patterns by the number of fitting models.

    Dashed: placebo models against clean ones.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, (name, found) in zip(COLOURS, results.items(), strict=False):
        models = [int(count) for count in found["learning_curve"]]
        points = [*found["learning_curve"].values()]
        _band(axes, models, points, colour, NAMES.get(name, name))
        placebo = [point["placebo"]["auc"] for point in points]
        axes.plot(models, placebo, "o--", color=colour, label=f"{NAMES.get(name, name)}, placebo")
    axes.set_xscale("log")
    ticks = sorted({int(count) for found in results.values() for count in found["learning_curve"]})
    axes.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("fitting models, half of them backdoored")
    _finish(axes)
    return figure


def poison_figure(found: Results) -> Figure:
    """Draw Figure 4: attack success and AUC of each method by poison ratio."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    percents = sorted(found["poison"], key=int)
    places = range(len(percents))
    success = [found["poison"][percent]["attack_success"] for percent in percents]
    axes.plot(places, success, color="#333333", linestyle=":", marker="s", label="attack success")
    methods = [
        name for name, item in found["poison"][percents[0]]["detectors"].items() if item is not None
    ]
    for colour, method in zip(COLOURS, methods, strict=False):
        points = [found["poison"][percent]["detectors"][method] for percent in percents]
        _band(axes, places, points, colour, method.replace("_", " "))
    axes.set_xticks(places, [f"{percent} %" for percent in percents])
    axes.set_xlabel("copies of the source class with the trigger, of its clean images")
    _finish(axes)
    return figure


def carries_figure(found: Results) -> Figure:
    """Draw how far detectors carry: AUC by what the test models have that is new."""
    rows = [*found["carries"]]
    columns = [*found["carries"][rows[0]]["detectors"]]
    items = [[found["carries"][row]["detectors"][column] for column in columns] for row in rows]
    values = np.array([[item["auc"] if item else np.nan for item in row] for row in items])
    figure = Figure(
        figsize=(1.6 + 1.25 * len(columns), 0.8 + 0.36 * len(rows)), layout="constrained"
    )
    axes = figure.subplots()
    axes.imshow(
        values, cmap=colormaps["RdYlBu"].with_extremes(bad="#dddddd"), vmin=0, vmax=1, aspect="auto"
    )
    for (row, column), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{value:.2f}"
        dark = not np.isnan(value) and (value < 0.15 or value > 0.9)
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=9,
            color="white" if dark else "black",
        )
    axes.set_xticks(range(len(columns)), columns, fontsize=9)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.xaxis.tick_top()
    return figure


def picture_figure(pictures: Sequence[Floats], columns: int = 10) -> Figure:
    """Draw images [C, H, W] in [0, 1] side by side."""
    rows = -(-len(pictures) // columns)
    wide = min(columns, len(pictures))
    figure = Figure(figsize=(0.85 * wide, 0.85 * rows), layout="constrained")
    grid = figure.subplots(rows, wide, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, picture in zip(grid.flat, pictures, strict=False):
        axes.imshow(np.asarray(picture).transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)
    return figure


def trigger_figure(triggers: Sequence[Trigger], shape: Sequence[int]) -> Figure:
    """Draw triggers on grey images of `shape`."""
    return picture_figure([trigger_on_grey(trigger, shape) for trigger in triggers])


def _band(
    axes: Any, places: Sequence[float], points: Sequence[Results], colour: str, label: str
) -> None:
    """Draw AUCs with their intervals as a band."""
    low, high = zip(*(point["interval"] for point in points), strict=True)
    axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(places, [point["auc"] for point in points], "o-", color=colour, label=label)


def _finish(axes: Any) -> None:
    axes.axhline(0.5, color="#999999", linewidth=1, linestyle="--")
    axes.set_ylabel("AUC, 95 % interval")
    axes.set_ylim(0, 1.03)
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
