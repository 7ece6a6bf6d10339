"""The study's figure: security curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS

NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "gtsrb": "GTSRB", "digits": "digits"}
AXES = {
    "linf": "largest change of a pixel value (of 255)",
    "l2": "L2 size of the change (pixels in [0, 1])",
    "l0": "pixels changed",
}


def curve_figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw accuracy over radius: a panel a norm, a line a network, intervals shaded."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(AXES), sharey=True)
    for axes, (norm, label) in zip(panels, AXES.items(), strict=True):
        scale = 255 if norm == "linf" else 1
        for colour, (name, curves) in zip(COLOURS, results["curves"].items(), strict=False):
            curve = curves[norm]
            radii = [scale * radius for radius in curve["epsilons"]]
            rates, lows, highs = zip(*curve["accuracy"], strict=True)
            axes.step(radii, rates, where="post", color=colour, label=NAMES[name])
            axes.fill_between(radii, lows, highs, step="post", color=colour, alpha=0.15, lw=0)
        axes.set_xscale("symlog", linthresh=1 if norm != "l2" else 0.1)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(label)
        axes.grid(color="#eeeeee")
    panels[0].set_ylabel("accuracy that is left")
    panels[0].legend(frameon=False)
    return {"curves": figure}
