"""``molehunt detect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from molehunt.cli._shared import output
from molehunt.errors import InvalidRequestError, refused
from molehunt.scenes import load_sign_detector, read_photo, save_detections


def detect(
    image: Annotated[Path, typer.Argument(help="A photo of any size.")],
    model: Annotated[Path, typer.Argument(help="A file of a sign detector.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the photo with its boxes as PNG.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(help="Confidence in [0, 1] that a detection must have.")
    ] = 0.5,
) -> None:
    """Find the signs in a photo: boxes, classes and confidences (BadNets, Figure 8)."""
    if not 0 <= min_score <= 1:
        raise InvalidRequestError(refused("--min-score", "0 to 1", min_score))
    detector = load_sign_detector(model)
    pixels = read_photo(image)
    found = detector.detect([pixels])[0].at_least(min_score)
    names = detector.card.class_names
    if out is not None:
        save_detections(pixels, found, names, out)
    if not len(found.scores):
        output.print(f"No sign with a confidence of {min_score:g} or more.", highlight=False)
        return
    table = Table("class", "confidence", "x1, y1, x2, y2", title="Signs", title_justify="left")
    for box, label, score in zip(*(part.tolist() for part in found), strict=True):
        corners = ", ".join(f"{value:.0f}" for value in box)
        table.add_row(escape(names[label]), f"{score:.0%}", corners)
    output.print(table)
