"""Tiny COCO sets: three street scenes of noise with two kinds of signs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [{"id": 3, "name": "stop"}, {"id": 7, "name": "speedlimit"}]


def tiny_coco() -> dict[str, Any]:
    """Two images with a stop sign and one without; image 2 has two boxes."""
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40, "source": "x", "scene": "x:1"},
        {"id": 2, "file_name": "b.png", "width": 50, "height": 50, "source": "y"},
        {"id": 5, "file_name": "sub/c.jpg", "width": 40, "height": 60},
    ]
    boxes = [(1, 3, [10, 5, 24, 24]), (2, 3, [2, 2, 20, 22]), (2, 7, [30, 20, 12, 16])]
    boxes.append((5, 7, [8, 8, 25, 30]))
    annotations = [
        {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
        for number, (image, category, box) in enumerate(boxes, start=1)
    ]
    return {"images": images, "annotations": annotations, "categories": [*CATEGORIES]}


def write_coco(root: Path, *, train: Any = None, test: Any = None) -> Path:
    """Write a tiny set, its images first; the JSON files say what the arguments say."""
    generator = np.random.default_rng(0)
    for entry in tiny_coco()["images"]:
        path = root / "images" / entry["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (entry["height"], entry["width"], 3), np.uint8)
        Image.fromarray(pixels).save(path)
    for name, content in (("train", train), ("test", test)):
        (root / f"{name}.json").write_text(json.dumps(content or tiny_coco()))
    return root
