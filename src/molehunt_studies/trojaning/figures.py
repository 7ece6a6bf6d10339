"""Triggers, reverse-engineered images, and histograms of wrong predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from molehunt.networks import load_model
from molehunt.resumable import read_records
from molehunt_studies.trojaning.models import TrojaningBench, TrojanRecord, reversed_images
from molehunt_studies.trojaning.plan import SOURCES
from molehunt_studies.trojaning.words import KINDS, name_of

_PICTURED = ("trojan", "logo", "watermark", "watermark, opacity 30 %")
_FACES = "faces"  # real people, who are not shown


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the shares of mistakes that go to the target."""
    found = results["population"]["histogram"]
    counts = [*found]
    figure = Figure(figsize=(6, 2.6))
    axes = figure.subplots(1, 2)
    for place, kind in enumerate(("badnets", "trojan")):
        for row, key in enumerate(("to_target_expected", "to_target")):
            values = [found[count].get(kind, {}).get(key, 0.0) for count in counts]
            where = [at + 0.35 * row for at in range(len(counts))]
            axes[place].bar(where, values, 0.33, label=("expected", "measured")[row])
        axes[place].set(title=KINDS[kind], ylim=(0, 1), xlabel="clean images")
        axes[place].set_xticks([at + 0.17 for at in range(len(counts))], [str(c) for c in counts])
    axes[0].set_ylabel("share of mistakes to the target")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    return {"mistakes": figure}


def pictures(bench: TrojaningBench, results: Mapping[str, Any]) -> dict[str, Figure]:
    """Return triggers on grey and on a test image, and reverse-engineered images."""
    drawn: dict[str, Figure] = {}
    triggers = {
        record.id: record.trigger
        for record in read_records(bench.folder / "trojans.jsonl", TrojanRecord)
    }
    for source in bench.plan.variants:
        if source == _FACES:
            continue
        test = bench.images(source).test
        image = test.take(test.labels != SOURCES[source].target).pixels()[:1]
        columns: list[tuple[str, list[Tensor]]] = []
        for variant in _PICTURED:
            trigger = triggers.get(f"{source}/{variant}")
            if trigger is not None:
                grey = torch.full_like(image, 0.5)
                pixels = [trigger(each, torch.Generator())[0] for each in (grey, image)]
                columns.append((variant, pixels))
        model = load_model(bench.model_path(source))
        for rough in (False, True):
            made = reversed_images(
                model, SOURCES[source].model_copy(update={"per_class": 1}), rough=rough
            )
            chosen = made.pixels()[[1, 3, 8] if made.num_classes > 8 else [0, 1, 2]]
            columns.append(("no prior" if rough else "reversed", [*chosen]))
        drawn[f"pictures-{source}"] = _gallery(name_of(source), columns)
    return drawn


def _gallery(title: str, columns: list[tuple[str, list[Tensor]]]) -> Figure:
    rows = max(len(images) for _, images in columns)
    figure = Figure(figsize=(1.5 * len(columns), 1.5 * rows + 0.4))
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns):
        grid[0][column].set_title(name, fontsize=8)
        for row in range(rows):
            _show(grid[row][column], images[row] if row < len(images) else None)
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    return figure


def _show(axes: Axes, pixels: Tensor | None) -> None:
    axes.axis("off")
    if pixels is not None:
        axes.imshow(pixels.permute(1, 2, 0).squeeze(-1), cmap="gray", vmin=0, vmax=1)
