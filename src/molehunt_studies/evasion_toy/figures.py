"""Figures: success over pixels and over epsilon; images before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from molehunt_studies.evasion_toy.attacked import DENSE, LIBRARY, SPARSE

_STYLES = {
    SPARSE[0]: ("#d55e00", "-"),
    SPARSE[1]: ("#009e73", "-"),
    DENSE[0]: ("#d55e00", "-"),
    DENSE[1]: ("#009e73", "-"),
    LIBRARY[1]: ("#0072b2", "--"),
    LIBRARY[2]: ("#0072b2", "--"),
}


def curves(learners: Mapping[str, Mapping[str, Any]], attacks: Sequence[str], label: str) -> Figure:
    """Draw the share of images that err within each size of change, a panel a learner."""
    columns = min(5, len(learners))
    rows = -(-len(learners) // columns)
    figure = Figure(figsize=(2.5 * columns + 0.5, 2.1 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in panels.flat[len(learners) :]:
        axes.set_visible(False)
    lines: dict[str, Any] = {}
    for axes, (name, found) in zip(panels.flat, learners.items(), strict=False):
        last = max(
            (size for each in attacks for size in found["attacks"][each]["sizes"]), default=1
        )
        for attack in attacks:
            each = found["attacks"][attack]
            sizes = each["sizes"]
            shares = 100 * np.arange(1, len(sizes) + 1) / max(1, each["attacked"])
            colour, style = _STYLES[attack]
            # Nothing errs without a change.
            (lines[attack],) = axes.step(
                [0, *sizes, 1.05 * last],
                [0, *shares, shares[-1] if sizes else 0],
                where="post",
                color=colour,
                linestyle=style,
            )
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_ylim(0, 102)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for row in panels:
        row[0].set_ylabel("errs (%)", fontsize=9)
    figure.supxlabel(label, fontsize=9)
    figure.legend(
        list(lines.values()), list(lines), loc="outside upper center", ncols=3, frameon=False
    )
    return figure


def before_and_after(shown: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw for each learner an image, and both variants' changes beside what came of them."""
    heads = ("original", "sparse", "its change", "dense", "its change (scaled)")
    figure = Figure(figsize=(6.4, 1.35 * len(shown) + 0.3), layout="constrained")
    panels = figure.subplots(len(shown), len(heads), squeeze=False)
    for row, (name, found) in zip(panels, shown.items(), strict=True):
        original, sparse, dense = (
            found[key][0].astype(float) for key in ("originals", "sparse", "dense")
        )
        away = dense - original
        scaled = away / max(1.0, float(np.abs(away).max()))
        tiles = (original, sparse, (sparse - original) / 255, dense, scaled)
        words = (
            f"{name}: {found['labels']}",
            f"taken for {found['said_sparse']}",
            f"{int((sparse != original).sum())} of {original.size} pixels",
            f"taken for {found['said_dense']}",
            f"at most {np.abs(away).max() / 255:.2f}",
        )
        for axes, tile, text, head in zip(row, tiles, words, heads, strict=True):
            change = "change" in head
            axes.imshow(
                tile,
                cmap=colormaps["RdBu_r" if change else "gray"],
                vmin=-1 if change else 0,
                vmax=1 if change else 255,
            )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(text, fontsize=7, labelpad=2)
    for axes, head in zip(panels[0], heads, strict=True):
        axes.set_title(head, fontsize=8)
    return figure
