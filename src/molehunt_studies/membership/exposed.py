"""Which images the models remember, and which they hardly need to have seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure

from molehunt_studies.membership.models import MembershipBench
from molehunt_studies.membership.plan import WHOLE

SHOWN = 12


def exposed_images(bench: MembershipBench) -> dict[str, Any]:
    """Return the images that training on them changes most and least, over all models.

    An image's exposure is how far its scaled confidence rises where it was trained on, in
    standard deviations over models.
    """
    scaled, members = bench.answers(WHOLE).candidates[:, :, 0], bench.members(WHOLE)
    means, squares = [], torch.zeros(scaled.shape[1], dtype=scaled.dtype)
    for side in (members, ~members):
        weights = side.to(scaled.dtype)
        mean = (scaled * weights).sum(0) / weights.sum(0)
        squares += ((scaled - mean).square() * weights).sum(0)
        means.append(mean)
    deviation = (squares.sum() / (scaled.numel() - 2 * scaled.shape[1])).sqrt()
    exposure = (means[0] - means[1]) / deviation
    order = exposure.argsort(descending=True)
    least = exposure.abs().argsort()

    def entry(place: int) -> dict[str, Any]:
        return {
            "image": place,
            "exposure": round(float(exposure[place]), 2),
            "with": round(float(means[0][place].sigmoid()), 3),
            "without": round(float(means[1][place].sigmoid()), 3),
        }

    return {
        "most": [entry(int(place)) for place in order[:SHOWN]],
        "least": [entry(int(place)) for place in least[:SHOWN]],
        "quantiles": {
            str(q): round(float(exposure.quantile(q)), 2) for q in (0.05, 0.25, 0.5, 0.75, 0.95)
        },
    }


def exposed_figure(bench: MembershipBench, results: Mapping[str, Any]) -> Figure:
    """Draw these images, with their labels and confidences with and without training on them."""
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    panels = figure.subplots(2, SHOWN)
    shown = bench.candidates
    for row, kind in zip(panels, ("most", "least"), strict=True):
        for axes, each in zip(row, results["exposed"][kind], strict=True):
            pixels = shown.images[each["image"]].permute(1, 2, 0).numpy()
            axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
            name = shown.class_names[int(shown.labels[each["image"]])]
            axes.set_title(f"{name}\n{each['without']:.2f} → {each['with']:.2f}", fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(f"{kind} exposed", fontsize=9)
    return figure
