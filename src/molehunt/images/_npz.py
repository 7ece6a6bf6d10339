"""Image sets from npz files; what their headers say is bounded before it is read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molehunt.errors import (
    DataNotFoundError,
    InvalidRequestError,
    UnreadableFileError,
    reason_of,
    refused,
)
from molehunt.images._image_set import ImageSet, TrainTest

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_LARGEST = 2**33  # bytes of all arrays: ten times CIFAR-10 in 224 x 224
_MOST_CLASSES = 100_000


def read_npz(path: Path) -> TrainTest:
    """Load ``x_train``, ``y_train``, ``x_test`` and ``y_test``; pickled objects are refused.

    Raises
    ------
    DataNotFoundError
        If there is no file.
    UnreadableFileError
        If it is no npz file, or its arrays take more than 8 GiB or more than they say.
    InvalidRequestError
        If arrays are missing, or are no images and labels.
    """
    if not path.is_file():
        raise DataNotFoundError(f"npz: no file {path.resolve()}")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in _KEYS if key not in arrays]
            if missing:
                got = ", ".join(list(arrays)[:10])
                raise InvalidRequestError(refused(f"arrays in {path}", ", ".join(_KEYS), got))
            x_train, y_train, x_test, y_test = (arrays[key] for key in _KEYS)
    except (InvalidRequestError, UnreadableFileError):
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise UnreadableFileError(f"{path}: not a readable npz file: {reason_of(error)}") from error
    train_labels, test_labels = _labels(y_train, path), _labels(y_test, path)
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    names = tuple(str(number) for number in range(classes))
    return TrainTest(
        ImageSet(_channels_first(x_train, path), train_labels, names),
        ImageSet(_channels_first(x_test, path), test_labels, names),
    )


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse arrays that are huge, or whose headers ask for more than is stored."""
    members = {item.filename: item for item in archive.infolist()}
    total = sum(item.file_size for item in members.values())
    if total > _LARGEST:
        raise UnreadableFileError(refused(f"arrays in {path}", f"at most {_LARGEST} bytes", total))
    for key in _KEYS:
        item = members.get(f"{key}.npy")
        if item is None:
            continue
        with archive.open(item) as stream:
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, kind = read(stream)
        needed = kind.itemsize
        for side in shape:
            needed *= side
        if not 0 <= needed <= item.file_size:
            what = f"{key} in {path}"
            raise UnreadableFileError(refused(what, f"{item.file_size} bytes", needed))


def _channels_first(array: np.ndarray, path: Path) -> Tensor:
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        got = f"{array.dtype} of shape {array.shape}"
        allowed = "uint8 of shape [N, H, W] or [N, H, W, C]"
        raise InvalidRequestError(refused(f"images in {path}", allowed, got))
    images = torch.from_numpy(array)
    images = images[:, None] if array.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.contiguous()


def _labels(array: np.ndarray, path: Path) -> Tensor:
    if not np.issubdtype(array.dtype, np.integer) or not 0 < array.size == len(array):
        got = f"{array.dtype} of shape {array.shape}"
        raise InvalidRequestError(refused(f"labels in {path}", "integers of shape [N]", got))
    if int(array.max()) >= _MOST_CLASSES:  # each class gets a name
        allowed = f"0 to {_MOST_CLASSES - 1}"
        raise InvalidRequestError(refused(f"labels in {path}", allowed, int(array.max())))
    return torch.from_numpy(array.reshape(-1).astype(np.int64))
