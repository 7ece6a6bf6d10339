"""Decoding thousands of image files once: the pixels are kept in a cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from molehunt.errors import OutputError, UnreadableFileError
from molehunt.files import written_whole
from molehunt.images._pictures import read_resized


def cache_folder() -> Path:
    """Return ``MOLEHUNT_CACHE``, else ``molehunt`` in the user's cache folder."""
    given = os.environ.get("MOLEHUNT_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "molehunt"


def decode_files(paths: Sequence[Path], size: tuple[int, int]) -> Tensor:
    """Read images as RGB of a height and width, from the cache when nothing changed.

    Returns
    -------
    Tensor of uint8, shape [N, 3, height, width]
        In the order of `paths`; each as `read_resized` reads it.

    Raises
    ------
    UnreadableFileError
        If a file is not an image; the message names it.
    """
    height, width = size
    # Path, size and time of change stand for the content, as in make.
    digest = hashlib.sha256(f"rgb of 8 bits, {height}x{width}".encode())
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise UnreadableFileError(f"{path}: cannot be read: {error.strerror}") from error
        name = os.fsencode(path.resolve())
        digest.update(name + f" {status.st_size} {status.st_mtime_ns}\n".encode())
    cached = cache_folder() / f"images-{digest.hexdigest()[:32]}.safetensors"
    try:
        return load_file(cached)["images"]
    except (OSError, SafetensorError, KeyError):
        pass  # not cached yet, or not readable: decode
    pixels = np.empty((len(paths), 3, height, width), np.uint8)

    def decode(place: int) -> None:
        pixels[place] = read_resized(paths[place], height, width).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(decode, range(len(paths))):
            pass  # raises what the first file raised
    images = torch.from_numpy(pixels)
    try:
        with written_whole(cached) as temporary:
            save_file({"images": images}, temporary)
    except OutputError:
        pass  # a cache that cannot be written costs time, not the result
    return images
