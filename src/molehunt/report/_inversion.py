"""What classes look like to a model: pictures, and a table that says what they are not."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from molehunt.attacks import Inverted
from molehunt.errors import printable
from molehunt.files import check_replaceable, write_text
from molehunt.images import write_png

_COLUMNS = ("class", "name", "confidence", "file")
INVERSION_MARKS = (",".join(_COLUMNS).encode(),)
# What a reader must know of the figures: no one but the model has seen the pictures.
JUDGED_BY_NOBODY = (
    "The confidences are the model's own, and nobody else has judged the pictures: a model is also "
    "sure of images that show nothing. Look at them."
)


def inversion_table(found: Inverted, names: Sequence[str]) -> Table:
    """Return a row a class with the model's own confidence."""
    table = Table(title="Inversion", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("class")
    table.add_column("confidence", justify="right")
    for label, confidence in zip(found.classes.tolist(), found.confidences.tolist(), strict=True):
        table.add_row(printable(names[label], 80), f"{confidence:.3f}")
    return table


def inversion_as_json(found: Inverted, names: Sequence[str]) -> dict[str, Any]:
    """Return the classes, confidences and price; the pictures are files."""
    return {
        "classes": [
            {"class": label, "name": names[label], "confidence": round(confidence, 6)}
            for label, confidence in zip(
                found.classes.tolist(), found.confidences.tolist(), strict=True
            )
        ],
        "judged_by": None,
        "queries": found.queries,
        "seconds": round(found.seconds, 2),
        "note": found.note,
    }


def write_inversion(folder: Path, found: Inverted, names: Sequence[str]) -> None:
    """Write a PNG a class and ``results.csv``.

    Raises
    ------
    OutputError
        If the folder cannot be written, ``results.csv`` is another file, or the images have
        neither one channel nor three.
    """
    table = folder / "results.csv"
    check_replaceable(table, "the results of an inversion", INVERSION_MARKS)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for label, image, confidence in zip(
        found.classes.tolist(), found.images, found.confidences.tolist(), strict=True
    ):
        file = f"class-{label:05d}.png"
        write_png(folder / file, image)
        rows.writerow([label, printable(names[label]), round(confidence, 6), file])
    write_text(table, text.getvalue())
