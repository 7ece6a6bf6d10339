"""What must hold of the classes, files and boxes of a COCO set; the rest become problems."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from molehunt.errors import UnreadableFileError, mismatch
from molehunt.images import read_rgb
from molehunt.progress import Progress
from molehunt.scenes._coco_entries import AnnotationEntry, CategoryEntry, ImageEntry, Problems

# Converters round; so much of a box may stand out of its image, and is cut off.
_ROUNDING = 1.0
# Pixels; a narrower box has no area once it is made smaller with its image.
_SMALLEST = 0.1


class SignClass(NamedTuple):
    """A class of signs."""

    label: int
    name: str


class Box(NamedTuple):
    """A box in pixels of the file, inside the image: x1, y1, x2, y2."""

    corners: tuple[float, float, float, float]
    label: int
    true_label: int
    triggered: bool


def classes_of(entries: Mapping[int, CategoryEntry], problems: Problems) -> dict[int, SignClass]:
    """Return the classes by their ids, in the order of the ids, which gives the labels."""
    classes: dict[int, SignClass] = {}
    names: set[str] = set()
    for key, entry in sorted(entries.items()):
        if entry.name in names:
            problems.add(
                "shared names of categories",
                mismatch(f"category {key}: name", "one of its own", repr(entry.name)),
            )
            continue
        names.add(entry.name)
        classes[key] = SignClass(len(classes), entry.name)
    return classes


def readable_files(
    images: Mapping[int, ImageEntry],
    folder: Path,
    problems: Problems,
    progress: Progress,
) -> dict[int, Path]:
    """Return the files of the images that can be decoded and have the size that is stated."""
    folder = folder.resolve()
    files: dict[int, Path] = {}
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda entry: _file_of(entry, folder), images.values())
        for done, (entry, file) in enumerate(zip(images.values(), found, strict=True), start=1):
            if isinstance(file, Path):
                files[entry.id] = file
            else:
                kind, message = file
                problems.add(kind, f"image {entry.id}: {message}")
            progress(done, len(images))
    return files


def _file_of(entry: ImageEntry, folder: Path) -> Path | tuple[str, str]:
    """Return the file of an image, or the kind of its problem and a message."""
    name = repr(entry.file_name[:100])
    try:
        path = (folder / entry.file_name).resolve()
        # Also a copy of the set must not leave its folder, and lacks this one's links.
        leaves = ".." in Path(entry.file_name).parts or Path(entry.file_name).is_absolute()
        if leaves or not path.is_relative_to(folder):
            return "file names outside images/", mismatch("file_name", "one inside images/", name)
        if not path.is_file():
            return "missing images", mismatch("file", "a file in images/", f"no {name}")
    except (OSError, ValueError, RuntimeError) as error:
        return "missing images", mismatch("file", "a file in images/", f"{name}: {error}")
    try:
        size = read_rgb(path).size
    except UnreadableFileError as error:
        return "unreadable images", str(error)
    if size != (entry.width, entry.height):
        stated = f"{entry.width}x{entry.height} as stated"
        return "images of another size", mismatch(f"size of {name}", stated, f"{size[0]}x{size[1]}")
    return path


def good_box(
    entry: AnnotationEntry, image: ImageEntry, classes: Mapping[int, SignClass], problems: Problems
) -> Box | None:
    """Return a good box, cut to its image; a bad one becomes a problem."""
    where = f"annotation {entry.id} of image {image.id}"
    true_category = entry.category_id if entry.true_category_id is None else entry.true_category_id
    for category in (entry.category_id, true_category):
        if category not in classes:
            allowed = f"one of {', '.join(map(str, classes)) or 'none'}"
            problems.add(
                "boxes of unknown categories", mismatch(f"{where}: category_id", allowed, category)
            )
            return None
    x, y, width, height = entry.bbox
    if min(width, height) < _SMALLEST:
        allowed = f"[x, y, width, height], at least {_SMALLEST} pixels wide and high"
        problems.add("boxes without area", mismatch(f"{where}: bbox", allowed, entry.bbox))
        return None
    x1, y1 = max(x, 0.0), max(y, 0.0)
    x2, y2 = min(x + width, image.width), min(y + height, image.height)
    beyond = max(x1 - x, y1 - y, x + width - x2, y + height - y2)
    if beyond > _ROUNDING or min(x2 - x1, y2 - y1) < _SMALLEST:
        allowed = f"inside {image.width}x{image.height} pixels"
        problems.add("boxes outside the image", mismatch(f"{where}: bbox", allowed, entry.bbox))
        return None
    labels = classes[entry.category_id].label, classes[true_category].label
    return Box((x1, y1, x2, y2), *labels, entry.triggered)
