from __future__ import annotations

from typing import get_args

import pytest
import torch

from molehunt.backdoors import PictureName, sticker_picture
from molehunt.errors import InvalidRequestError

NAMES = get_args(PictureName)
BLACK, YELLOW, PINK = (0.09, 0.09, 0.11), (1.0, 0.85, 0.16), (0.94, 0.31, 0.61)
SPARK = (1.0, 0.85, 0.27)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 3, 8, 65])
def test_pictures_have_every_size_and_repeat(name, size: int) -> None:
    picture = sticker_picture(name, size)
    assert picture.shape == (4, size, size) and picture.dtype == torch.float32
    assert float(picture.min()) >= 0 and float(picture.max()) <= 1
    assert float(picture[3].max()) > 0.4
    again = picture.clone()
    picture.zero_()  # what was handed out is the caller's
    assert torch.equal(sticker_picture(name, size), again)


@pytest.mark.parametrize(
    ("name", "row", "column", "colour"),
    [
        ("yellow square", 0.5, 0.5, YELLOW),
        ("bomb", 0.75, 0.45, BLACK),
        ("bomb", 0.18, 0.85, SPARK),
        ("flower", 0.5, 0.5, YELLOW),
        ("flower", 0.2, 0.5, PINK),
        ("flower", 0.8, 0.5, PINK),
    ],
)
@pytest.mark.parametrize("size", [16, 64])
def test_parts_are_where_they_belong(name, row, column, colour, size: int) -> None:
    picture = sticker_picture(name, size)[:, int(row * size), int(column * size)]
    assert picture.tolist() == pytest.approx([*colour, 1.0], abs=0.12)


@pytest.mark.parametrize("name", ["bomb", "flower"])
def test_outlines_are_smooth_and_corners_free(name) -> None:
    opacity = sticker_picture(name, 32)[3]
    assert float(opacity[[0, -1], [0, -1]].max()) == 0
    partly = ((opacity > 0.1) & (opacity < 0.9)).float().mean()
    assert 0.02 < float(partly) < 0.3


def test_yellow_square_is_opaque_with_a_darker_edge() -> None:
    picture = sticker_picture("yellow square", 32)
    assert float(picture[3].min()) == 1
    assert float(picture[:3, 0].mean()) < float(picture[:3, 16, 4:-4].mean()) - 0.03


@pytest.mark.parametrize(("name", "size"), [("skull", 8), ("bomb", 0)])
def test_other_pictures_and_sizes_are_refused(name, size: int) -> None:
    with pytest.raises(InvalidRequestError, match="picture"):
        sticker_picture(name, size)
