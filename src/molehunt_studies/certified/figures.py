"""The figures of the study of certificates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from safetensors.torch import load_file

from molehunt.plotting import COLOURS
from molehunt_studies.certified.limits import PICTURES
from molehunt_studies.certified.networks import CertifiedBench


def curve_figure(results: Mapping[str, Any]) -> Figure:
    """Draw certified (full) and attacked (dashed) accuracy over the radius."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    for number, (kind, points) in enumerate(results["curve"].items()):
        radii = [point["epsilon"] for point in points]
        colour = COLOURS[number]
        attacked, certified = (
            [point[what][0] / point[what][1] for point in points]
            for what in ("attacked", "certified")
        )
        axes.plot(radii, attacked, "--", color=colour)
        axes.plot(radii, certified, "-", color=colour, label=kind)
        axes.fill_between(radii, certified, attacked, color=colour, alpha=0.08, linewidth=0)
    axes.axvline(results["curve_epsilon"], color="#555555", linewidth=1, linestyle=":")
    axes.set_xlabel("largest change of a pixel, of 1")
    axes.set_ylabel("accuracy: certified —, under attack - -")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color="#eeeeee")
    axes.legend(fontsize=8, ncols=5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.12))
    return figure


def smoothing_figure(results: Mapping[str, Any]) -> Figure:
    """Draw certified accuracy of the smoothed networks over the radius in the Euclidean norm."""
    sets = results["smoothing"]
    figure = Figure(figsize=(3.8 * len(sets), 3.4), layout="constrained")
    for axes, (source, found) in zip(
        np.atleast_1d(figure.subplots(1, len(sets))), sets.items(), strict=True
    ):
        for number, each in enumerate(found):
            radii = np.sort(np.array(each["radii"]))
            left = np.arange(len(radii), 0, -1) / each["images"]
            label = f"σ = {each['sigma']}"
            axes.step(
                [0, *radii, *radii[-1:]],
                [len(radii) / each["images"], *left, *[0] * len(radii[-1:])],
                where="pre",
                color=COLOURS[number],
                label=label,
            )
        axes.set_title(source, fontsize=10)
        axes.set_xlabel("radius, Euclidean norm of pixels in [0, 1]")
        axes.set_ylabel("certified accuracy")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.grid(color="#eeeeee")
        axes.legend(fontsize=8, frameon=False)
    return figure


def limits_figure(bench: CertifiedBench, results: Mapping[str, Any]) -> Figure:
    """Show certified images with what turns them, and a negative with a certified class."""
    pictures = load_file(bench.folder / PICTURES)
    shown = results["limits"]["shown"]
    titles = {
        "rotated-before": "certified",
        "rotated": "rotated",
        "patched-before": "certified",
        "patched": "under a patch",
        "negative": "negative, certified",
    }
    names = [name for name in titles if name in pictures]
    figure = Figure(figsize=(1.7 * max(1, len(names)), 2.2), layout="constrained")
    for axes, name in zip(
        np.atleast_1d(figure.subplots(1, max(1, len(names)))), names, strict=False
    ):
        axes.imshow(
            pictures[name].permute(1, 2, 0).squeeze().numpy(), cmap="gray", vmin=0, vmax=255
        )
        words = shown.get(name.removesuffix("-before"), "")
        words = words.partition(" to ")[0] if name.endswith("-before") else words
        axes.set_title(f"{titles[name]}\n{words}", fontsize=9)
        axes.set_axis_off()
    return figure
