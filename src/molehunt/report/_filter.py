"""What a filter says of a training set: a table, JSON, the kept images, a picture of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich import box
from rich.table import Table

from molehunt import __version__
from molehunt.defences import Filtered
from molehunt.errors import ExitCode
from molehunt.files import written_whole
from molehunt.images import ImageSet

_ACROSS, _MOST = 10, 60


def filter_table(found: Filtered, names: Sequence[str]) -> Table:
    """Return one row for each class whose removals false alarms do not explain."""
    table = Table(title="Classes", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("class")
    for name in ("images", "removed", "expected", "chance"):
        table.add_column(name, justify="right")
    chances = found.surplus()
    for label in found.suspicious():
        own = found.removed[found.labels == label]
        expected = f"{len(own) * found.max_false_alarms:.0f}"
        chance = f"{chances[label]:.1g}"
        table.add_row(names[label], str(len(own)), str(own.sum()), expected, chance)
    return table


def filter_as_json(found: Filtered, code: ExitCode, **settings: Any) -> dict[str, Any]:
    """Return the results as plain values: each removed image's place in the set, and p-value."""
    removed = np.flatnonzero(found.removed)
    return {
        "molehunt": __version__,
        **settings,
        "exit_code": int(code),
        "images": len(found.labels),
        "max_false_alarms": found.max_false_alarms,
        "removed": removed.tolist(),
        "p_values": [round(float(p), 6) for p in found.p_values[removed]],
        "classes": {str(label): chance for label, chance in found.surplus().items()},
    }


def save_kept(path: Path, found: Filtered, suspects: ImageSet, clean: ImageSet) -> None:
    """Write an npz file as `molehunt.images.load_images` reads it; the test part is `clean`."""
    kept = suspects.take(torch.from_numpy(~found.removed))
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            x_train=kept.images.permute(0, 2, 3, 1).numpy(),
            y_train=kept.labels.numpy(),
            x_test=clean.images.permute(0, 2, 3, 1).numpy(),
            y_test=clean.labels.numpy(),
        )


def save_removed(path: Path, found: Filtered, suspects: ImageSet) -> None:
    """Write a picture of up to 60 removed images, the most suspicious first."""
    order = np.argsort(found.p_values, kind="stable")[: min(_MOST, int(found.removed.sum()))]
    pixels = suspects.images[torch.from_numpy(order)].permute(0, 2, 3, 1).numpy()
    if pixels.shape[-1] != 3:
        pixels = np.repeat(pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    scale = max(1, round(64 / pixels.shape[1]))
    pixels = pixels.repeat(scale, 1).repeat(scale, 2)
    height, width = pixels.shape[1] + 4, pixels.shape[2] + 4
    rows = max(1, -(-len(pixels) // _ACROSS))
    sheet = np.full((rows * height, _ACROSS * width, 3), 255, np.uint8)
    for place, picture in enumerate(pixels):
        top, left = place // _ACROSS * height + 2, place % _ACROSS * width + 2
        sheet[top : top + height - 4, left : left + width - 4] = picture
    with written_whole(path) as temporary:
        Image.fromarray(sheet).save(temporary, "PNG")
