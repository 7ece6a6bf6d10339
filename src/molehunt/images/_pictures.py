"""One image file, as RGB pixels."""

from __future__ import annotations

import contextlib
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from molehunt.errors import OutputError, UnreadableFileError, mismatch, printable
from molehunt.files import make_folder, open_regular

# Pillow starts other programs for some formats (Ghostscript for EPS); these it decodes itself.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MOST_PIXELS = 178_956_970  # of one image, as in Pillow, which only warns of half as many
# Formats whose numbers Pillow gives as 0 to 65535 in mode I.
_WIDE = ("PNG", "PPM")
_UNDECODABLE = (
    OSError,
    ValueError,
    SyntaxError,
    struct.error,
    Image.DecompressionBombError,
)
# Pillow warns of half of what it refuses; what it refuses is refused here in one line.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Larger images take their turn: several threads decode, and one of these takes 0.7 GB.
_LARGE_PIXELS = 2**24
_one_large = threading.Lock()


def read_rgb(path: Path) -> Image.Image:
    """Decode one image file, as RGB with 8 bits a channel.

    As in torchvision's ImageFolder, the orientation that a camera wrote into the file is left
    alone, and alpha is dropped: what lies under it shows. Grey images of 16 bits are divided by
    257, so that white stays white.

    Raises
    ------
    UnreadableFileError
        If it is not a whole image in one of `FORMATS`, has more than `MOST_PIXELS`, holds
        numbers of 32 bits (floating-point or whole), or is a pipe or a device.
    """
    with _open_picture(path) as image:
        # A copy, since the file behind the image is closed.
        return _plain(image, path).convert("RGB")


def read_resized(path: Path, height: int, width: int) -> np.ndarray:
    """Decode one image file at a size, whatever its own proportions: nothing is cut off.

    Pillow's bilinear filter, which widens when it makes images smaller (antialiased).

    Returns
    -------
    Array of uint8, shape [height, width, 3]

    Raises
    ------
    UnreadableFileError
        As `read_rgb`.
    """
    with _open_picture(path) as image:
        small = _plain(image, path).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(small.convert("RGB"))


def write_png(path: Path, image: Tensor) -> None:
    """Write an image, uint8 [1 or 3, H, W], as PNG; its folder is made.

    Raises
    ------
    OutputError
        If it has other channels, or the file cannot be written.
    """
    if len(image) not in (1, 3):
        raise OutputError(mismatch("channels of an image to save", "1 or 3", len(image)))
    make_folder(path.parent)
    array = image.cpu().permute(1, 2, 0).numpy()
    try:
        Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _open_picture(path: Path) -> Iterator[Image.Image]:
    """Yield an image whose header was read; what its pixels raise becomes one clear line."""
    shown = printable(path)
    with open_regular(path) as stream:
        try:
            with Image.open(stream, formats=FORMATS) as image:
                large = image.width * image.height > _LARGE_PIXELS
                with _one_large if large else contextlib.nullcontext():
                    yield image
        except UnidentifiedImageError as error:
            allowed = ", ".join(FORMATS)
            raise UnreadableFileError(
                f"{shown}: not a readable image: cannot identify it as one of {allowed}"
            ) from error
        except Image.DecompressionBombError as error:
            allowed = f"at most {MOST_PIXELS:,}"
            raise UnreadableFileError(
                mismatch(f"{shown}: pixels of an image", allowed, "more")
            ) from error
        except _UNDECODABLE as error:
            raise UnreadableFileError(
                f"{shown}: not a readable image: {printable(error)}"
            ) from error


def _plain(image: Image.Image, path: Path) -> Image.Image:
    """Return an image as grey or RGB of 8 bits: itself where it can be, as copies are large."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _WIDE):
        values = np.asarray(image).astype(np.uint32).clip(0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        allowed = "8 or 16 bits a channel"
        got = f"{image.format} with pixels of 32 bits, whose black and white are not known"
        raise UnreadableFileError(mismatch(f"{printable(path)}: image", allowed, got))
    return image.convert("RGB")
