"""Image sets from npz files; what their headers say is bounded before it is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molehunt.errors import (
    DataNotFoundError,
    InvalidRequestError,
    UnreadableFileError,
    mismatch,
    printable,
    reason_of,
)
from molehunt.files import open_regular
from molehunt.images._image_set import ImageSet, TrainTest

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_LARGEST = 2**32  # bytes of all arrays: 28,000 colour images of 224x224
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class StoredArray:
    """An array that was not read yet, as its header describes it."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    kind: np.dtype

    def read(self, archive: zipfile.ZipFile) -> np.ndarray:
        with archive.open(self.member) as stream:
            found: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
            return found


def read_npz(path: Path) -> TrainTest:
    """Load ``x_train``, ``y_train``, ``x_test`` and ``y_test``; pickled objects are refused.

    Nothing is read before all headers were checked.

    Raises
    ------
    DataNotFoundError
        If there is no file.
    UnreadableFileError
        If it is no npz file, or its arrays take more than 4 GiB or more than they say.
    InvalidRequestError
        If arrays are missing, or are no images and labels.
    """
    if not path.is_file():
        raise DataNotFoundError(f"npz: no file {path.resolve()}")
    found = read_arrays(path, _KEYS, _check)
    x_train, y_train, x_test, y_test = (found[key] for key in _KEYS)
    train_labels, test_labels = _labels(y_train, path), _labels(y_test, path)
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    names = tuple(str(number) for number in range(classes))
    return TrainTest(
        ImageSet(_channels_first(x_train), train_labels, names),
        ImageSet(_channels_first(x_test), test_labels, names),
    )


def read_arrays(
    path: Path,
    keys: Sequence[str],
    check: Callable[[Mapping[str, StoredArray], Path], None] = lambda _arrays, _path: None,
) -> dict[str, np.ndarray]:
    """Return arrays of an npz file that a stranger wrote; pickled objects are refused.

    Parameters
    ----------
    path : Path
    keys : sequence of str
        All of them must be there; others are not read.
    check : callable
        Looks at all headers before anything is read, and raises what it does not like.

    Raises
    ------
    UnreadableFileError
        If it is no npz file, or its arrays take more than 4 GiB or more than they say.
    InvalidRequestError
        If arrays are missing.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            stored = _headers(archive, path, keys)
            check(stored, path)
            return {key: stored[key].read(archive) for key in keys}
    except (InvalidRequestError, UnreadableFileError):
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise UnreadableFileError(f"{path}: not a readable npz file: {reason_of(error)}") from error


def _headers(archive: zipfile.ZipFile, path: Path, keys: Sequence[str]) -> dict[str, StoredArray]:
    """Return the arrays' headers; those that are huge, or ask for more than is stored, refuse."""
    # NumPy finds an array with and without the suffix.
    members = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
    if any(key not in members for key in keys):
        got = printable(", ".join(list(members)[:10]))
        raise InvalidRequestError(mismatch(f"arrays in {path}", ", ".join(keys), got))
    total = sum(members[key].file_size for key in keys)
    if total > _LARGEST:
        raise UnreadableFileError(mismatch(f"arrays in {path}", f"at most {_LARGEST} bytes", total))
    found = {}
    for key in keys:
        with archive.open(members[key]) as stream:
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, kind = read(stream)
        if kind.hasobject:
            got = "Python objects, which are never loaded"
            raise UnreadableFileError(mismatch(f"{key} in {path}", "an array of numbers", got))
        needed, there = math.prod(shape) * kind.itemsize, members[key].file_size
        if min(shape, default=0) < 0 or needed > there:
            raise UnreadableFileError(mismatch(f"{key} in {path}", f"{there} bytes", needed))
        found[key] = StoredArray(members[key], shape, kind)
    return found


def _check(stored: Mapping[str, StoredArray], path: Path) -> None:
    """Refuse what is not images, labels, and as many of one as of the other."""
    for part in ("train", "test"):
        images, labels = stored[f"x_{part}"], stored[f"y_{part}"]
        if images.kind != np.uint8 or len(images.shape) not in (3, 4) or 0 in images.shape:
            got = f"{images.kind} of shape {images.shape}"
            allowed = "uint8 of shape [N, H, W] or [N, H, W, C]"
            raise InvalidRequestError(mismatch(f"images in {path}", allowed, got))
        count = math.prod(labels.shape)
        if labels.kind.kind not in "iu" or not 0 < count == max(labels.shape[:1], default=0):
            got = f"{labels.kind} of shape {labels.shape}"
            raise InvalidRequestError(mismatch(f"labels in {path}", "integers of shape [N]", got))
        if count != images.shape[0]:
            got = f"{labels.kind} of shape {labels.shape}"
            allowed = f"int64 of shape [{images.shape[0]}]"
            raise InvalidRequestError(mismatch(f"labels in {path}", allowed, got))


def _channels_first(array: np.ndarray) -> Tensor:
    images = torch.from_numpy(array)
    images = images[:, None] if array.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.contiguous()


def _labels(array: np.ndarray, path: Path) -> Tensor:
    highest = int(array.max())
    if not 0 <= highest < _MOST_CLASSES:  # each class gets a name
        allowed = f"0 to {_MOST_CLASSES - 1}"
        raise InvalidRequestError(mismatch(f"labels in {path}", allowed, highest))
    return torch.from_numpy(array.reshape(-1).astype(np.int64))
