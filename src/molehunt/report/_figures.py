"""Figures of detectors, subjects and triggers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from molehunt.arrays import Floats
from molehunt.backdoors import Trigger
from molehunt.detectors import Evaluation
from molehunt.findings import Bars
from molehunt.plotting import COLOURS, NORMAL, SUBJECT, new_figure, save_figure
from molehunt.zoo import Split, Zoo

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def roc_figure(evaluations: Mapping[str, Evaluation]) -> Figure:
    """Draw a ROC curve for each detector."""
    figure = new_figure(5, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="chance")
    for colour, (name, found) in zip(COLOURS, evaluations.items(), strict=False):
        axes.step(*found.roc, where="post", color=colour, label=f"{name}, AUC {found.auc.auc:.3f}")
    axes.set_xlabel("false-alarm rate (share of clean models flagged)")
    axes.set_ylabel("detection rate (share of backdoored models flagged)")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.legend(loc="lower right", frameon=False)
    axes.grid(color="#eeeeee")
    return figure


def save_roc(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """Write the ROC figure as PNG."""
    save_figure(roc_figure(evaluations), path)


def response_figure(bars: Bars, class_names: Sequence[str]) -> Figure:
    """Draw a subject's answers to one image over the range of clean models."""
    answers, (low, middle, high) = bars.values, bars.usual
    classes = len(answers)
    # Wider ones would be drawn so small on a page that nothing could be read.
    figure = new_figure(min(7.2, max(3.4, 0.34 * classes)), 2.0)
    axes = figure.subplots()
    places = np.arange(classes)
    axes.bar(places, high - low, bottom=low, width=0.7, color=NORMAL, alpha=0.3, linewidth=0)
    axes.hlines(middle, places - 0.35, places + 0.35, color=NORMAL, linewidth=1.2)
    outside = (answers < low) | (answers > high)
    axes.scatter(places[~outside], answers[~outside], s=16, color="#333333", zorder=3)
    axes.scatter(places[outside], answers[outside], s=26, color=SUBJECT, marker="D", zorder=3)
    # Names are a stranger's: signs that the font has not, or that mean formulas, stay out.
    names = [name if name.isascii() and name.isalnum() else "" for name in class_names]
    short = [name if 0 < len(name) <= 3 else str(number) for number, name in enumerate(names)]
    short = short or [str(number) for number in places]
    step = math.ceil(classes / 24)
    axes.set_xticks(places[::step], short[::step], fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("class", fontsize=8)
    axes.set_ylabel(bars.unit, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def score_figure(score: float, clean: Floats) -> Figure:
    """Draw where a subject's score lies among those of the clean calibration models."""
    figure = new_figure(4.6, 1.5)
    axes = figure.subplots()
    axes.tick_params(labelsize=8)
    axes.hist(clean, bins=min(30, max(8, len(clean) // 2)), color=NORMAL, alpha=0.5)
    axes.axvline(score, color=SUBJECT, linewidth=2)
    axes.set_xlabel("score; the line is this model, the bars are clean models", fontsize=9)
    axes.set_ylabel("models", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def save_triggers(
    triggers: Mapping[str, Sequence[Trigger]], shape: Sequence[int], path: Path
) -> None:
    """Write a picture of triggers on grey images of `shape`, one row a group."""
    columns = max(len(group) for group in triggers.values())
    columns = min(columns, 12)
    figure = new_figure(0.2 + 1.1 * columns, 1.3 * len(triggers))
    grid = figure.subplots(len(triggers), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, (name, group) in zip(grid, triggers.items(), strict=True):
        row[0].set_title(f"{name}: {len(group)} triggers", loc="left", fontsize=9)
        for axes, trigger in zip(row, group, strict=False):
            axes.imshow(
                trigger_on_grey(trigger, shape).transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1
            )
    save_figure(figure, path)


def trigger_on_grey(trigger: Trigger, shape: Sequence[int]) -> Floats:
    """Return a grey image [C, H, W] with the trigger on it; random places by seed 0."""
    grey = torch.full((1, *shape), 0.5)
    drawn = trigger(grey, torch.Generator().manual_seed(0))[0]
    return drawn.numpy().astype(np.float64)


def triggers_of(zoo: Zoo, split: Split) -> list[Trigger]:
    """Return the different triggers of a split, in the order of the index."""
    return list(dict.fromkeys(record.backdoor.trigger for record in zoo.select(split)))
