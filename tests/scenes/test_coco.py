"""Reading COCO sets: what is read, and one case a kind of bad input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from molehunt.errors import DataNotFoundError, InvalidRequestError, UnreadableFileError
from molehunt.scenes import load_scenes
from tests.scenes.coco_sets import tiny_coco, write_coco


def test_boxes_labels_and_pixels_are_read(tmp_path: Path) -> None:
    scenes = load_scenes(f"coco:{write_coco(tmp_path)}", "train")
    assert scenes.class_names == ("stop", "speedlimit") and scenes.category_ids == (3, 7)
    assert [scene.image_id for scene in scenes.scenes] == [1, 2, 5]
    assert (scenes[0].source, scenes[0].group, scenes[2].source) == ("x", "x:1", None)
    assert scenes[1].boxes.tolist() == [[2, 2, 22, 24], [30, 20, 42, 36]]
    assert scenes[1].labels.tolist() == scenes[1].true_labels.tolist() == [0, 1]
    assert not scenes[1].triggered.any()
    pixels = scenes[0].pixels()
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 40, 60)
    assert scenes.counts() == {"stop": 2, "speedlimit": 2}
    assert scenes.left_out == {}
    assert len(scenes.of_source("y")) == 1
    with pytest.raises(InvalidRequestError, match="expected x, y, got 'z'"):
        scenes.of_source("z")


def test_boxes_shrink_with_their_images(tmp_path: Path) -> None:
    scenes = load_scenes(f"coco:{write_coco(tmp_path)}", "train", max_side=30)
    assert scenes[0].size == (30, 20) and scenes[0].pixels().shape == (3, 20, 30)
    assert scenes[0].boxes.tolist() == [[5, 2.5, 17, 14.5]]


def test_crowds_are_not_read_and_rounding_is_cut_off(tmp_path: Path) -> None:
    content = tiny_coco()
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][3]["bbox"] = [8, 8, 32.9, 30]
    scenes = load_scenes(f"coco:{write_coco(tmp_path, train=content)}", "train")
    assert scenes[0].boxes.shape == (0, 4)
    assert scenes[2].boxes.tolist() == [[8, 8, 40, 38]]


Change = Callable[[dict[str, Any], Path], object]


def _box(*bbox: object) -> Change:
    return lambda content, _: content["annotations"][0].update(bbox=list(bbox))


def _image(**fields: object) -> Change:
    return lambda content, _: content["images"][0].update(fields)


def _annotation(**fields: object) -> Change:
    return lambda content, _: content["annotations"][0].update(fields)


def _cut_short(_: object, root: Path) -> None:
    path = root / "images" / "a.jpg"
    path.write_bytes(path.read_bytes()[:900])


def _link_outside(_: object, root: Path) -> None:
    (root / "images" / "a.jpg").rename(root / "outside.jpg")
    (root / "images" / "a.jpg").symlink_to(root / "outside.jpg")


def _pipe(_: object, root: Path) -> None:
    (root / "images" / "a.jpg").unlink()
    os.mkfifo(root / "images" / "a.jpg")


# What is changed; what the message says; the kind; images and boxes that are left.
BAD: dict[str, tuple[Change, str, str, int, int]] = {
    "box without area": (
        _box(9, 9, 0, 5), "annotation 1 of image 1: bbox", "boxes without area", 3, 3,
    ),
    "negative box": (_box(9, 9, 5, -4), "got [9.0, 9.0, 5.0, -4.0]", "boxes without area", 3, 3),
    "box partly outside": (_box(50, 5, 20, 20), "inside 60x40", "boxes outside the image", 3, 3),
    "box left of it": (_box(-9, 5, 20, 20), "inside 60x40", "boxes outside the image", 3, 3),
    "box far outside": (_box(900, 5, 20, 20), "inside 60x40", "boxes outside the image", 3, 3),
    "box at the rim": (_box(60, 5, 1, 20), "inside 60x40", "boxes outside the image", 3, 3),
    "three numbers": (_box(1, 2, 3), "annotations[0]", "malformed annotations", 3, 3),
    "no number": (_box(1, 2, float("nan"), 4), "annotations[0]", "malformed annotations", 3, 3),
    "words": (_box("a", 2, 3, 4), "annotations[0]", "malformed annotations", 3, 3),
    "unknown category": (
        _annotation(category_id=4),
        "expected one of 3, 7, got 4", "boxes of unknown categories", 3, 3,
    ),
    "unknown image": (_annotation(image_id=9), "annotation 1", "boxes of unknown images", 3, 3),
    "annotation id twice": (
        _annotation(id=2),
        "annotations with id 2: expected 1, got 2", "shared ids of annotations", 3, 2,
    ),
    "image id twice": (_image(id=2), "images with id 2", "shared ids of images", 1, 1),
    "category id twice": (
        lambda content, _: content["categories"].append({"id": 3, "name": "yield"}),
        "categories with id 3", "shared ids of categories", 3, 2,
    ),
    "category name twice": (
        lambda content, _: content["categories"].append({"id": 9, "name": "stop"}),
        "category 9: name", "shared names of categories", 3, 4,
    ),
    "missing image": (_image(file_name="z.jpg"), "image 1: file", "missing images", 2, 3),
    "zero byte": (_image(file_name="a\0.jpg"), "image 1: file", "missing images", 2, 3),
    "no file but a pipe": (_pipe, "image 1: file", "missing images", 2, 3),
    "another size": (_image(width=61), "got 60x40", "images of another size", 2, 3),
    "no width": (_image(width=0), "images[0]", "malformed images", 2, 3),
    "half a JPEG": (_cut_short, "image 1", "unreadable images", 2, 3),
    "no JPEG": (
        lambda _, root: (root / "images" / "a.jpg").write_bytes(b"GIF89a, or not"),
        "not a readable image", "unreadable images", 2, 3,
    ),
    "a path upwards": (
        _image(file_name="../images/a.jpg"), "inside images/", "file names outside images/", 2, 3,
    ),
    "an absolute path": (
        _image(file_name="/etc/hostname"), "inside images/", "file names outside images/", 2, 3,
    ),
    "a link outwards": (_link_outside, "inside images/", "file names outside images/", 2, 3),
    "an entry of another type": (
        lambda content, _: content["annotations"].append(["no"]),
        "annotations[4]", "malformed annotations", 3, 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message", "kind", "images", "boxes"), BAD.values(), ids=BAD)
def test_bad_entries_are_named_or_left_out_and_counted(
    change: Change, message: str, kind: str, images: int, boxes: int, tmp_path: Path
) -> None:
    root = write_coco(tmp_path)
    content = tiny_coco()
    change(content, root)
    (root / "train.json").write_text(json.dumps(content))
    with pytest.raises(UnreadableFileError) as refusal:
        load_scenes(f"coco:{root}", "train")
    text = str(refusal.value)
    assert message in text and "`skip_bad`" in text and "\n" not in text
    scenes = load_scenes(f"coco:{root}", "train", skip_bad=True)
    assert kind in scenes.left_out
    assert (len(scenes), sum(scenes.counts().values())) == (images, boxes)
    assert [scene.pixels().shape[0] for scene in scenes.scenes] == [3] * images


def test_the_first_of_many_problems_are_shown(tmp_path: Path) -> None:
    content = tiny_coco()
    for entry in content["annotations"]:
        entry["bbox"] = [0, 0, 0, 0]
    root = write_coco(tmp_path, train=content)
    with pytest.raises(UnreadableFileError, match=r"4 problems: annotation 1 .*; 1 more"):
        load_scenes(f"coco:{root}", "train")
    assert load_scenes(f"coco:{root}", "train", skip_bad=True).left_out == {"boxes without area": 4}


def test_a_set_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    content = tiny_coco()
    content["images"] = [{**entry, "file_name": "z.jpg"} for entry in content["images"]]
    root = write_coco(tmp_path, train=content)
    with pytest.raises(UnreadableFileError, match="no good image is left of 3"):
        load_scenes(f"coco:{root}", "train", skip_bad=True)


NO_COCO = {
    "empty": "",
    "cut": "{",
    "list": "[]",
    "deep": "[" * 5000,
    "dictionary": '{"images": {}}',
    "no images": '{"images": [], "annotations": [], "categories": []}',
}


@pytest.mark.parametrize("text", NO_COCO.values(), ids=NO_COCO)
def test_what_is_no_coco_file_is_refused(text: str, tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    (root / "train.json").write_text(text)
    with pytest.raises(UnreadableFileError, match=r"train\.json: "):
        load_scenes(f"coco:{root}", "train", skip_bad=True)


def test_requests_that_make_no_sense(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    for source in ("mnist", "coco:", "folder:x"):
        with pytest.raises(InvalidRequestError, match="expected coco:PATH"):
            load_scenes(source, "train")
    with pytest.raises(DataNotFoundError, match=r"no val\.json"):
        load_scenes(f"coco:{root}", "val")
    with pytest.raises(InvalidRequestError, match="split"):
        load_scenes(f"coco:{root / 'images'}", "../train")
    with pytest.raises(InvalidRequestError, match="longer side"):
        load_scenes(f"coco:{root}", "train", max_side=4)
