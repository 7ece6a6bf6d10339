"""Reading COCO sets of street scenes, whose files are a stranger's."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import torch

from molehunt.errors import DataNotFoundError, InvalidRequestError, UnreadableFileError, mismatch
from molehunt.images import find_data
from molehunt.progress import Progress, silent
from molehunt.scenes._coco_checks import Box, classes_of, good_box, readable_files
from molehunt.scenes._coco_entries import (
    AnnotationEntry,
    CategoryEntry,
    ImageEntry,
    Problems,
    check_entries,
    read_lists,
)
from molehunt.scenes._scene_set import Scene, SceneSet


def load_scenes(
    source: str,
    split: str,
    *,
    data_root: str | Path | None = None,
    max_side: int | None = None,
    skip_bad: bool = False,
    progress: Progress = silent,
) -> SceneSet:
    """Read a COCO set: ``images/`` and one JSON file a split.

    Every image is decoded once to see that it can be. Crowd regions (``iscrowd``) are no
    boxes of single signs and not read. Nothing in the files is executed, and no image
    outside ``images/`` is opened.

    Parameters
    ----------
    source : str
        ``coco:PATH``; looked for in the current folder, then below `data_root`.
    split : str
        ``train``, ``test``, or the name of another JSON file without its ending.
    data_root : path, optional
        ``MOLEHUNT_DATA`` when not given.
    max_side : int, optional
        Images with a longer side are made smaller, and their boxes with them.
    skip_bad : bool
        Leave out bad boxes, and bad images with their boxes, and count them in
        ``left_out``. An image keeps its other boxes; a sign whose box was left out is then
        background to a sign detector. Without it the set is refused.
    progress : callable
        Called with the number of checked images and their total.

    Raises
    ------
    InvalidRequestError
        For a source, split or size that makes no sense.
    DataNotFoundError
        If the folder, the JSON file or ``images/`` is not there.
    UnreadableFileError
        If the JSON file is none, or the set has bad entries or images, or none is left.
    """
    scheme, _, path = source.partition(":")
    if scheme != "coco" or not path:
        raise InvalidRequestError(mismatch("street scenes", "coco:PATH", repr(source)))
    if max_side is not None and not 16 <= max_side <= 4096:
        raise InvalidRequestError(mismatch("longer side", "16 to 4096 pixels", max_side))
    root = find_data(path, data_root)
    file = root / f"{split}.json"
    if not split or Path(split).name != split:
        raise InvalidRequestError(
            mismatch("split", "train, test or another file name", repr(split))
        )
    if not file.is_file() or not (root / "images").is_dir():
        missing = "images/" if file.is_file() else file.name
        raise DataNotFoundError(
            f"coco: no {missing} in {root.resolve()}; expected images/, train.json, test.json"
        )
    lists = read_lists(file)
    problems = Problems()
    categories = check_entries(lists["categories"], CategoryEntry, "categories", problems)
    classes = classes_of(categories, problems)
    images = check_entries(lists["images"], ImageEntry, "images", problems)
    annotations = check_entries(lists["annotations"], AnnotationEntry, "annotations", problems)
    files = readable_files(images, root / "images", problems, progress)
    # The boxes of an image that was left out go with it, and are no problems of their own.
    named = {str(entry.get("id")) for entry in lists["images"] if isinstance(entry, dict)}
    boxes = defaultdict(list)
    for entry in annotations.values():
        if str(entry.image_id) not in named:
            message = mismatch(f"annotation {entry.id}: image_id", "an image's", entry.image_id)
            problems.add("boxes of unknown images", message)
        elif entry.image_id in files and not entry.iscrowd:
            box = good_box(entry, images[entry.image_id], classes, problems)
            if box is not None:
                boxes[entry.image_id].append(box)
    if not skip_bad:
        problems.refuse(file)
    if not files:
        raise UnreadableFileError(f"{file}: no good image is left of {len(lists['images'])}")
    return SceneSet(
        tuple(_scene(images[key], path, boxes[key], max_side) for key, path in files.items()),
        tuple(name for _, name in classes.values()),
        tuple(classes),
        dict(problems.counts),
    )


def _scene(image: ImageEntry, path: Path, boxes: list[Box], max_side: int | None) -> Scene:
    shrink = min(1.0, (max_side or math.inf) / max(image.width, image.height))
    size = max(1, round(image.width * shrink)), max(1, round(image.height * shrink))
    scale = torch.tensor([size[0] / image.width, size[1] / image.height] * 2)
    corners = torch.tensor([box.corners for box in boxes], dtype=torch.float32).reshape(-1, 4)
    return Scene(
        path=path,
        file_name=image.file_name,
        image_id=image.id,
        file_size=(image.width, image.height),
        size=size,
        boxes=corners * scale,
        labels=torch.tensor([box.label for box in boxes], dtype=torch.int64),
        true_labels=torch.tensor([box.true_label for box in boxes], dtype=torch.int64),
        triggered=torch.tensor([box.triggered for box in boxes], dtype=torch.bool),
        source=image.source,
        group=image.scene,
    )
