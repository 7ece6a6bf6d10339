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

from molehunt.errors import OutputError, UnreadableFileError, refused
from molehunt.files import written_whole

# Pillow starts other programs for some formats (Ghostscript for EPS); these it decodes itself.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Formats whose numbers Pillow gives as 0 to 65535 in mode I.
_WIDE = ("PNG", "PPM")
_UNDECODABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)


def cache_folder() -> Path:
    """Return ``MOLEHUNT_CACHE``, else ``molehunt`` in the user's cache folder."""
    given = os.environ.get("MOLEHUNT_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "molehunt"


def decode_files(paths: list[Path], size: tuple[int, int]) -> Tensor:
    """Read images as RGB of (height, width) `size`, from the cache when nothing changed.

    Returns
    -------
    Tensor of uint8, shape [N, 3, *size]
        In the order of `paths`.

    Raises
    ------
    UnreadableFileError
        If a file is not an image; the message names it.
    """
    # Path, size and time of change stand for the content, as in make.
    digest = hashlib.sha256(f"rgb of 8 bits, {size[0]}x{size[1]}".encode())
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
    COCO sets. Greys of 16 bits become 8; Pillow alone would cut them off at 255.

    Raises
    ------
    UnreadableFileError
        If it is not a whole image in one of `FORMATS`, or its numbers have no known range.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _WIDE):
                return _with_8_bits(image).convert("RGB")
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                allowed = "8 or 16 bits a channel"
                got = f"{image.format} with pixels of 32 bits, whose black and white are not known"
                raise UnreadableFileError(refused(f"{path}: image", allowed, got))
            return image.convert("RGB")
    except _UNDECODABLE as error:
        raise UnreadableFileError(f"{path}: not a readable image: {error}") from error


def _with_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(np.clip((values + 128) // 257, 0, 255).astype(np.uint8))


def _decode(path: Path, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(read_rgb(path).resize(size[::-1], Image.Resampling.BILINEAR))
