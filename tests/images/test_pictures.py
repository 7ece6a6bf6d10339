"""Every kind of picture becomes the 8-bit RGB that a person sees, or one clear line."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molehunt.errors import UnreadableFileError
from molehunt.images import load_test_images, read_rgb

RAMP = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
WIDE = RAMP.astype(np.uint16) * 257


def _big_endian_tiff(path: Path) -> None:
    """Grey, 16 bits, in the other order of bytes."""
    tags = [(256, 8), (257, 8), (258, 16), (259, 1), (262, 1), (273, 122), (277, 1), (278, 8)]
    tags.append((279, 128))
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    header = b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4)
    path.write_bytes(header + WIDE.astype(">u2").tobytes())


GREY_16 = {
    "png": lambda path: Image.fromarray(WIDE).save(path, "PNG"),
    "tiff": lambda path: Image.fromarray(WIDE).save(path, "TIFF"),
    "tiff, big-endian": _big_endian_tiff,
    "pgm": lambda path: path.write_bytes(b"P5 8 8 65535\n" + WIDE.astype(">u2").tobytes()),
}


@pytest.mark.parametrize("kind", GREY_16)
def test_sixteen_bits_are_scaled(kind: str, tmp_path: Path) -> None:
    GREY_16[kind](tmp_path / "picture.png")
    found = np.asarray(read_rgb(tmp_path / "picture.png"))
    assert (found == RAMP[..., None]).all()


def _cmyk() -> Image.Image:
    return Image.fromarray(np.stack([255 - RAMP] * 3, 2)).convert("CMYK")


SAME = {
    "palette": (Image.fromarray(RAMP).convert("P"), RAMP),
    "one bit": (Image.fromarray(RAMP > 100), np.where(RAMP > 100, 255, 0)),
    "grey with alpha": (Image.merge("LA", [Image.fromarray(RAMP)] * 2), RAMP),
    "colours with alpha": (
        Image.merge("RGBA", [Image.fromarray(RAMP)] * 3 + [Image.new("L", (8, 8))]),
        RAMP,
    ),
    "cmyk": (_cmyk(), 255 - RAMP),
}


@pytest.mark.parametrize("kind", SAME)
def test_other_modes_show_their_colours(kind: str, tmp_path: Path) -> None:
    image, expected = SAME[kind]
    path = tmp_path / ("picture.tiff" if kind == "cmyk" else "picture.png")
    image.save(path)
    assert (np.asarray(read_rgb(path)) == expected[..., None]).all()


REFUSED = {
    "float": np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8),
    "negative": np.full((8, 8), -1, np.int32),
    "beyond 16 bits": np.full((8, 8), 70_000, np.int32),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_scale_is_refused(kind: str, tmp_path: Path) -> None:
    Image.fromarray(REFUSED[kind]).save(tmp_path / "picture.tiff")
    with pytest.raises(UnreadableFileError, match="expected 8 or 16 bits a channel, got TIFF"):
        read_rgb(tmp_path / "picture.tiff")


def test_the_camera_s_orientation_is_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "picture.jpg", exif=exif)
    assert read_rgb(tmp_path / "picture.jpg").size == (20, 10)


def png_of(width: int, height: int) -> bytes:
    """A whole grey PNG of one colour, deflated to little."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


HOSTILE = {
    "bomb": (lambda path: path.write_bytes(png_of(200_000, 1000)), "at most 178,956,970, got more"),
    "pipe": (_fifo, "expected a regular file, got a pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "expected a regular file, got a device"),
    "cut off": (lambda path: path.write_bytes(png_of(50, 50)[:60]), "not a readable image"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "empty": (lambda path: path.touch(), "cannot identify"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_folder_with_one_hostile_picture_is_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLEHUNT_CACHE", str(tmp_path / "cache"))
    write, message = HOSTILE[kind]
    (tmp_path / "set" / "a").mkdir(parents=True)
    write(tmp_path / "set" / "a" / "0.png")
    with pytest.raises(UnreadableFileError, match=message) as caught:
        load_test_images(f"folder:{tmp_path / 'set'}")
    assert str(caught.value).count("0.png") == 1 and "\n" not in str(caught.value)


def test_large_pictures_take_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads decode; of images of 17 Mpx and more, only one at a time."""
    monkeypatch.setenv("MOLEHUNT_CACHE", str(tmp_path / "cache"))
    at_once, most = 0, 0
    resize = Image.Image.resize

    def counted(self: Image.Image, *args: object, **kwargs: object) -> Image.Image:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        found = resize(self, *args, **kwargs)
        at_once -= 1
        return found

    monkeypatch.setattr(Image.Image, "resize", counted)
    (tmp_path / "set" / "a").mkdir(parents=True)
    content = png_of(5000, 3500)
    for number in range(4):
        (tmp_path / "set" / "a" / f"{number}.png").write_bytes(content)
    found = load_test_images(f"folder:{tmp_path / 'set'}")
    assert most == 1
    assert torch.equal(found.images, torch.zeros(4, 3, 32, 32, dtype=torch.uint8))
