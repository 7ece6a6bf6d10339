"""Image sets by name: the embedded digits, torchvision's sets, folders and npz files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molehunt.errors import DataNotFoundError, InvalidRequestError, mismatch, printable
from molehunt.images._decoded import decode_files
from molehunt.images._gtsrb_names import GTSRB_NAMES
from molehunt.images._image_set import ImageSet, TrainTest
from molehunt.images._npz import read_npz

Loader = Callable[[Path, int | None, bool], TrainTest]


def load_images(
    source: str,
    *,
    data_root: str | Path | None = None,
    size: int | None = None,
    download: bool = False,
) -> TrainTest:
    """Load the training and test images of a source.

    Parameters
    ----------
    source : str
        ``digits`` (embedded in scikit-learn), ``mnist``, ``fashion-mnist``, ``cifar10``,
        ``gtsrb`` (torchvision's layouts below `data_root`), ``folder:PATH`` (ImageFolder
        with ``train/`` and ``test/``) or ``npz:PATH`` (``x_train``, ``y_train``, ``x_test``,
        ``y_test``; images [N, H, W] or [N, H, W, C] in uint8). A PATH that is not absolute
        is looked for in the current folder, then below `data_root`.
    data_root : path, optional
        Where torchvision's sets lie; ``MOLEHUNT_DATA`` when not given.
    size : int, optional
        Height and width to resize to. Photographs of many sizes (``gtsrb``, ``folder:``)
        are brought to 32 when it is not given; `ImageSet.shaped` reads them again.
    download : bool
        Let torchvision download what is missing. Nothing is downloaded otherwise.

    Raises
    ------
    InvalidRequestError
        For an unknown source or size.
    DataNotFoundError
        If the data are not there; the message says how to get them.
    UnreadableFileError
        If files are there but cannot be read.

    Examples
    --------
    >>> digits = load_images("digits")
    >>> len(digits.train), len(digits.test), digits.test.shape
    (1347, 450, (1, 8, 8))
    """
    name, _, path = source.partition(":")
    if name not in SOURCES or (name in ("folder", "npz")) != bool(path):
        raise InvalidRequestError(mismatch("data set", ", ".join(SOURCE_FORMS), repr(source)))
    if size is not None and not 4 <= size <= 1024:
        raise InvalidRequestError(mismatch("image size", "4 to 1024 pixels", size))
    root = find_data(path, data_root)
    found = SOURCES[name](root, size, download)
    return found if size is None else TrainTest(*(part.resized(size) for part in found))


def load_test_images(
    source: str, *, data_root: str | Path | None = None, size: int | None = None
) -> ImageSet:
    """Load labelled images to judge models with.

    Parameters
    ----------
    source, data_root, size
        As in `load_images`, whose test images are returned. A ``folder:PATH`` may have its
        class folders directly in it.

    Raises
    ------
    InvalidRequestError, DataNotFoundError, UnreadableFileError
        As `load_images`.
    """
    name, _, path = source.partition(":")
    folder = Path(path).expanduser()
    if name != "folder" or not folder.is_dir() or (folder / "test").is_dir():
        return load_images(source, data_root=data_root, size=size).test
    return _read_folder(_image_folder(folder), size)


def find_data(path: str, data_root: str | Path | None) -> Path:
    """Return where `path` lies: in the current folder, else below the data root.

    Parameters
    ----------
    path : str
        Empty for the data root itself.
    data_root : path, optional
        ``MOLEHUNT_DATA`` when not given.

    Raises
    ------
    DataNotFoundError
        If no file can have that name.
    """
    root = Path(data_root or os.environ.get("MOLEHUNT_DATA") or "data").expanduser()
    try:
        given = Path(path).expanduser()
        if "\0" in path:
            raise ValueError("a zero byte in its name")
        if path and (given.exists() or given.is_absolute()):
            return given
    except (OSError, ValueError, RuntimeError) as error:  # too long, zero bytes, no such home
        message = getattr(error, "strerror", None) or error
        raise DataNotFoundError(f"{printable(path, 80)}: cannot be looked up: {message}") from error
    return root / given


def _digits(_root: Path, _size: int | None, _download: bool) -> TrainTest:
    """Load 1,797 real handwritten digits, 8x8; a stratified quarter is the test set."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  heavy
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  heavy

    digits = load_digits()
    images = torch.from_numpy(np.round(digits.images * 255 / 16).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    # The split is a property of the source, so its seed is no setting.
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels
    )
    names = tuple(str(digit) for digit in range(10))
    whole = ImageSet(images, labels, names)
    return TrainTest(*(whole.take(torch.from_numpy(np.sort(part))) for part in (train, test)))


def _in_memory(class_name: str, name: str) -> Loader:
    """Return a loader for a torchvision set that holds all its pixels as one array."""

    def load(root: Path, _size: int | None, download: bool) -> TrainTest:
        return TrainTest(*(part(root, train, download) for train in (True, False)))

    def part(root: Path, train: bool, download: bool) -> ImageSet:
        from torchvision import datasets  # noqa: PLC0415  heavy

        kind = getattr(datasets, class_name)
        loaded = _torchvision(
            name, root, download, lambda: kind(root, train=train, download=download)
        )
        pixels = torch.as_tensor(loaded.data)
        images = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        labels = torch.as_tensor(loaded.targets, dtype=torch.int64)
        return ImageSet(images.contiguous(), labels, tuple(str(c) for c in loaded.classes))

    load.__doc__ = f"Load {class_name} as torchvision keeps it."
    return load


def _gtsrb(root: Path, size: int | None, download: bool) -> TrainTest:
    """Load the German Traffic Sign Recognition Benchmark, 43 classes."""

    from torchvision import datasets  # noqa: PLC0415  heavy

    def part(split: str) -> ImageSet:
        loaded = _torchvision(
            "gtsrb", root, download, lambda: datasets.GTSRB(root, split, download=download)
        )
        paths, labels = zip(*loaded._samples, strict=True)
        return _of_files(paths, labels, GTSRB_NAMES, size)

    return TrainTest(part("train"), part("test"))


def _torchvision(name: str, root: Path, download: bool, build: Callable[[], Any]) -> Any:
    """Build a torchvision set; one that is absent becomes an error that says how to get it."""
    try:
        return build()
    except (RuntimeError, OSError) as error:
        if download:
            raise DataNotFoundError(f"{name}: download to {root} failed: {error}") from error
        raise DataNotFoundError(
            f"{name}: not found below {root.resolve()}; set MOLEHUNT_DATA or `data_root` to the "
            "folder that holds it in torchvision's layout, or add `download`"
        ) from error


def _npz(path: Path, _size: int | None, _download: bool) -> TrainTest:
    """Load arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``."""
    return read_npz(path)


def _folder(root: Path, size: int | None, _download: bool) -> TrainTest:
    """Load an ImageFolder: ``train/CLASS/*`` and ``test/CLASS/*``, in RGB."""
    parts = {}
    missing = [split for split in ("train", "test") if not (root / split).is_dir()]
    if missing:
        raise DataNotFoundError(
            f"folder: no {' or '.join(missing)} in {root.resolve()}; "
            "expected train/CLASS/* and test/CLASS/*"
        )
    for split in ("train", "test"):
        parts[split] = _image_folder(root / split)
    names = parts["train"].classes
    if parts["test"].classes != names:
        raise InvalidRequestError(
            mismatch(f"classes in {root / 'test'}", names, parts["test"].classes)
        )
    return TrainTest(_read_folder(parts["train"], size), _read_folder(parts["test"], size))


def _image_folder(root: Path) -> Any:
    from torchvision import datasets  # noqa: PLC0415  heavy

    try:
        return datasets.ImageFolder(str(root))
    except OSError as error:
        raise DataNotFoundError(f"folder: {root}: {error}") from error


def _read_folder(part: Any, size: int | None) -> ImageSet:
    paths, labels = zip(*part.samples, strict=True)
    return _of_files(paths, labels, tuple(part.classes), size)


def _of_files(
    paths: Sequence[str], labels: Sequence[int], names: tuple[str, ...], size: int | None
) -> ImageSet:
    files = tuple(Path(path) for path in paths)
    images = decode_files(files, (size or 32, size or 32))
    return ImageSet(images, torch.tensor(labels), names, files)


SOURCES: dict[str, Loader] = {
    "digits": _digits,
    "mnist": _in_memory("MNIST", "mnist"),
    "fashion-mnist": _in_memory("FashionMNIST", "fashion-mnist"),
    "cifar10": _in_memory("CIFAR10", "cifar10"),
    "gtsrb": _gtsrb,
    "folder": _folder,
    "npz": _npz,
}
SOURCE_FORMS = tuple(f"{name}:PATH" if name in ("folder", "npz") else name for name in SOURCES)
