"""A COCO set on which a narrow sign detector learns in seconds: coloured shapes on grey noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from molehunt.files import make_folder, write_text

_SIDE = 128
_HALF = _SIDE // 2
_COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (20, 140, 60)}


def write_shapes(root: Path, shapes: Sequence[str], *, train: int = 24, test: int = 6) -> Path:
    """Write scenes of 128x128 pixels, a shape of 26 to 44 in each quarter.

    Parameters
    ----------
    root : Path
        Gets ``images/``, ``train.json`` and ``test.json``.
    shapes : sequence of str
        The classes: red, blue or green; disc or square.
    train, test : int
        Scenes.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    generator = np.random.default_rng(0)
    make_folder(root / "images")
    first = 1
    for split, count in (("train", train), ("test", test)):
        content: dict[str, Any] = {"images": [], "annotations": []}
        content["categories"] = [{"id": 1 + k, "name": name} for k, name in enumerate(shapes)]
        for number in range(first, first + count):
            name = f"{number}.png"
            sizes = {"width": _SIDE, "height": _SIDE}
            content["images"].append({"id": number, "file_name": name} | sizes)
            noise = generator.integers(100, 156, (_SIDE, _SIDE, 3), np.uint8)
            image = Image.fromarray(noise)
            for quarter in range(4):
                side = int(generator.integers(26, 45))
                left, top = (
                    start + int(generator.integers(0, _HALF - side + 1))
                    for start in (_HALF * (quarter % 2), _HALF * (quarter // 2))
                )
                label = int(generator.integers(0, len(shapes)))
                _draw(image, shapes[label], left, top, side)
                content["annotations"].append(
                    {
                        "id": len(content["annotations"]) + 1,
                        "image_id": number,
                        "category_id": 1 + label,
                        "bbox": [left, top, side, side],
                    }
                )
            image.save(root / "images" / name)
        first += count
        write_text(root / f"{split}.json", json.dumps(content))
    return root


def _draw(image: Image.Image, shape: str, left: int, top: int, side: int) -> None:
    corners = (left, top, left + side - 1, top + side - 1)
    colour, form = shape.split()
    draw = ImageDraw.Draw(image)
    if form == "square":
        draw.rectangle(corners, fill=_COLOURS[colour])
    else:
        draw.ellipse(corners, fill=_COLOURS[colour])
