"""Writing sets of street scenes as COCO, for Molehunt and for other frameworks."""

from __future__ import annotations

import filecmp
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from molehunt.errors import OutputError, mismatch
from molehunt.files import make_folder
from molehunt.progress import Progress, silent
from molehunt.scenes._scene_set import Scene, SceneSet

RECORD = "backdoor.json"


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises
    ------
    OutputError
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(mismatch(f"{folder}", "a new or empty folder", "one that holds files"))


def write_scenes(
    folder: Path,
    splits: Mapping[str, SceneSet],
    *,
    record: Mapping[str, Any],
    progress: Progress = silent,
) -> None:
    """Write sets as ``images/``, a COCO file a split, and a record of what was done.

    Images that are as in their files are copied byte for byte; an attacker's copies, and
    images that were resized or carry stickers, are written as PNG below ``images/SPLIT/``,
    so that no other compression tells them from the originals. What is true of a sign
    (``true_category_id``, ``triggered``) is written for splits other than ``train``.
    The folder appears when it is whole.

    Parameters
    ----------
    folder : path
        New or empty.
    splits : mapping of str to SceneSet
        By the names of their JSON files.
    record : mapping
        Written as ``backdoor.json``.
    progress : callable
        Called with the number of written images and their total.

    Raises
    ------
    OutputError
        If the folder holds something or cannot be written.
    UnreadableFileError
        If an image cannot be read any more.
    """
    check_empty(folder)
    make_folder(folder.parent)
    total, done = sum(map(len, splits.values())), 0
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
            whole = Path(beside) / folder.name
            for split, scenes in splits.items():
                entries = []
                for scene in scenes.scenes:
                    entries.append(_write_image(scene, whole / "images", split))
                    done += 1
                    progress(done, total)
                content = {
                    "images": entries,
                    "annotations": _annotations(scenes, truth=split != "train"),
                    "categories": [
                        {"id": key, "name": name}
                        for key, name in zip(scenes.category_ids, scenes.class_names, strict=True)
                    ],
                }
                (whole / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
            text = json.dumps(record, indent=2) + "\n"
            (whole / RECORD).write_text(text, encoding="utf-8")
            whole.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _write_image(scene: Scene, images: Path, split: str) -> dict[str, Any]:
    """Write an image below the folder `images`, and return its entry."""
    if scene.as_in_file and scene.copy_of is None:
        name = scene.file_name
        file = images / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            shutil.copyfile(scene.path, file)
        elif not filecmp.cmp(scene.path, file, shallow=False):
            allowed = "a name that no other image has"
            raise OutputError(mismatch(f"image {scene.image_id}: file_name", allowed, repr(name)))
    else:
        name = f"{split}/{scene.image_id:06d}.png"
        file = images / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as stream:
            Image.fromarray(scene.pixels().permute(1, 2, 0).numpy()).save(stream, "PNG")
    entry: dict[str, Any] = {"id": scene.image_id, "file_name": name}
    entry["width"], entry["height"] = scene.size
    if scene.source is not None:
        entry["source"] = scene.source
    if scene.group is not None:
        entry["scene"] = scene.group
    return entry


def _annotations(scenes: SceneSet, *, truth: bool) -> list[dict[str, Any]]:
    """Return the entries of all boxes, numbered from 1."""
    entries: list[dict[str, Any]] = []
    for scene in scenes.scenes:
        sides = torch.cat([scene.boxes[:, :2], scene.boxes[:, 2:] - scene.boxes[:, :2]], dim=1)
        for place, box in enumerate(sides.tolist()):
            x, y, width, height = (round(value, 3) for value in box)
            entry: dict[str, Any] = {
                "id": len(entries) + 1,
                "image_id": scene.image_id,
                "category_id": scenes.category_ids[int(scene.labels[place])],
                "bbox": [x, y, width, height],
                "area": round(width * height, 3),
                "iscrowd": 0,
            }
            if truth:
                entry["true_category_id"] = scenes.category_ids[int(scene.true_labels[place])]
                entry["triggered"] = bool(scene.triggered[place])
            entries.append(entry)
    return entries
