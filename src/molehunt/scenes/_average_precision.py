"""Average precision as COCO's own tools count it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from molehunt.scenes._scene_set import Scene, SceneSet
from molehunt.scenes._sign_detector import Detections


def average_precision(
    scenes: SceneSet, found: Sequence[Detections], *, min_area: float
) -> dict[str, float]:
    """Return the average precision at IoU 0.5 of each class that has signs of `min_area`.

    Parameters
    ----------
    scenes : SceneSet
        With n scenes; their true labels count.
    found : sequence of n Detections
        In pixels of the scenes; the best 100 a scene and class count.
    min_area : float
        In pixels of the files. Smaller signs, and detections of nothing that are smaller,
        count neither for nor against.
    """
    images: list[dict[str, Any]] = []
    signs: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for number, (scene, detected) in enumerate(zip(scenes.scenes, found, strict=True), start=1):
        images.append({"id": number})
        for box, label in zip(
            _in_file(scene, scene.boxes), scene.true_labels.tolist(), strict=True
        ):
            signs.append(_entry(number, box, label) | {"id": len(signs) + 1})
        for box, label, score in zip(
            _in_file(scene, detected.boxes),
            detected.labels.tolist(),
            detected.scores.tolist(),
            strict=True,
        ):
            entry = _entry(number, box, label) | {"id": len(detections) + 1, "score": score}
            detections.append(entry)
    categories = [{"id": label, "name": name} for label, name in enumerate(scenes.class_names)]
    # COCO's tools print what they do.
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(
            _coco(images, signs, categories), _coco(images, detections, categories), "bbox"
        )
        judge.params.iouThrs = np.array([0.5])
        judge.params.areaRng, judge.params.areaRngLbl = [[min_area, 1e10]], ["asked for"]
        judge.params.maxDets = [100]
        judge.evaluate()
        judge.accumulate()
    # By recall and class; -1 where a class has no signs.
    precision = judge.eval["precision"][0, :, :, 0, 0].mean(axis=0)
    return {
        name: float(value)
        for name, value in zip(scenes.class_names, precision, strict=True)
        if value >= 0
    }


def _coco(
    images: list[dict[str, Any]], entries: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> Any:
    coco = COCO()
    coco.dataset = {"images": images, "annotations": entries, "categories": categories}
    coco.createIndex()
    return coco


def _entry(image: int, box: list[float], label: int) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": label,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
    }


def _in_file(scene: Scene, boxes: Tensor) -> list[list[float]]:
    """Return boxes as x, y, width, height in pixels of the scene's file."""
    scale = (torch.tensor(scene.file_size) / torch.tensor(scene.size)).repeat(2)
    in_file = boxes * scale
    sides: list[list[float]] = torch.cat(
        [in_file[:, :2], in_file[:, 2:] - in_file[:, :2]], dim=1
    ).tolist()
    return sides
