"""Decoding thousands of image files once: the pixels are kept in a cache."""

from __future__ import annotations

import hashlib
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from molehunt.errors import OutputError, UnreadableFileError
from molehunt.files import written_whole

# Pillow starts other programs for some formats (Ghostscript for EPS); these it decodes itself.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_UNDECODABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)


def cache_folder() -> Path:
    """Return ``MOLEHUNT_CACHE``, else ``molehunt`` in the user's cache folder."""
    given = os.environ.get("MOLEHUNT_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "molehunt"


def decode_files(paths: list[Path], size: int) -> Tensor:
    """Read images as RGB squares of `size` pixels, from the cache when nothing changed.

    Returns
    -------
    Tensor of uint8, shape [N, 3, size, size]
        In the order of `paths`.

    Raises
    ------
    UnreadableFileError
        If a file is not an image; the message names it.
    """
    # Path, size and time of change stand for the content, as in make.
    digest = hashlib.sha256(f"rgb {size}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    cached = cache_folder() / f"images-{digest.hexdigest()[:32]}.safetensors"
    try:
        return load_file(cached)["images"]
    except (OSError, SafetensorError, KeyError):
        pass  # not cached yet, or not readable: decode
    with ThreadPoolExecutor() as pool:
        images = torch.from_numpy(np.stack(list(pool.map(lambda p: _decode(p, size), paths))))
    images = images.permute(0, 3, 1, 2).contiguous()
    try:
        with written_whole(cached) as temporary:
            save_file({"images": images}, temporary)
    except OutputError:
        pass  # a cache that cannot be written costs time, not the result
    return images


def read_rgb(path: Path) -> Image.Image:
    """Decode one image file, as RGB.

    The orientation that a camera wrote into the file is left alone, as in other readers of
    COCO sets.

    Raises
    ------
    UnreadableFileError
        If it is not a whole image in one of `FORMATS`.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.convert("RGB")
    except _UNDECODABLE as error:
        raise UnreadableFileError(f"{path}: not a readable image: {error}") from error


def _decode(path: Path, size: int) -> np.ndarray:
    return np.asarray(read_rgb(path).resize((size, size), Image.Resampling.BILINEAR))
