"""Where stickers lie, and what they change."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from molehunt.backdoors import PictureName, sticker_picture
from molehunt.scenes import PlacedSticker, SignSticker

PICTURES = get_args(PictureName)
WIDTH, HEIGHT = 90, 70
GREY = torch.full((3, HEIGHT, WIDTH), 128, dtype=torch.uint8)


@st.composite
def boxes(draw: st.DrawFn) -> Tensor:
    """Boxes inside the image, at least 2 pixels wide and high."""
    values = []
    for side in (WIDTH, HEIGHT):
        length = 2 + draw(st.floats(0, 1)) * (side - 2)
        start = draw(st.floats(0, 1)) * (side - length)
        values.append((start, start + length))
    (x1, x2), (y1, y2) = values
    return torch.tensor([x1, y1, x2, y2])


stickers = st.builds(
    SignSticker,
    picture=st.sampled_from(PICTURES),
    size=st.floats(0.05, 0.5),
    margin=st.floats(0, 0.1),
)


@settings(deadline=None, max_examples=40)
@given(sticker=stickers, box=boxes(), seed=st.one_of(st.none(), st.integers(0, 10**6)))
def test_stickers_are_inside_the_box_and_change_nothing_else(
    sticker: SignSticker, box: Tensor, seed: int | None
) -> None:
    if seed is None:
        placed = sticker.placed(box)
    else:
        placed = sticker.photographed(box, torch.Generator().manual_seed(seed))
    corners = torch.tensor(placed.corners)
    slack = 1e-3  # of float32
    assert bool((corners >= box[:2] - slack).all()) and bool((corners <= box[2:] + slack).all())
    before = GREY.clone()
    drawn = placed.draw_on(GREY)
    assert torch.equal(before, GREY)
    changed = (drawn != GREY).any(0).nonzero()
    if len(changed):
        low, high = corners.amin(0).floor(), corners.amax(0).ceil()
        assert bool((changed.flip(1) >= low).all()) and bool((changed.flip(1) < high).all())


@settings(deadline=None, max_examples=40)
@given(box=boxes())
def test_the_sticker_is_at_the_bottom_in_the_middle_and_scales(box: Tensor) -> None:
    sticker = SignSticker(picture=PICTURES[0])
    left, top = sticker.placed(box).corners[0]
    right, bottom = sticker.placed(box).corners[2]
    width, height = (box[2:] - box[:2]).tolist()
    assert right - left == bottom - top == max(1, round(0.2 * min(width, height)))
    assert abs((left + right) / 2 - float(box[0] + box[2]) / 2) <= 1
    assert 0 <= float(box[3]) - bottom <= 0.08 * height + 1


@pytest.mark.parametrize("picture", PICTURES)
def test_from_the_front_it_is_the_picture_itself(picture: PictureName) -> None:
    placed = PlacedSticker(picture, ((20, 10), (44, 10), (44, 34), (20, 34)))
    assert placed.side == 24
    drawn = placed.draw_on(GREY)[:, 10:34, 20:44].double() / 255
    expected = sticker_picture(picture, 24)
    blended = expected[:3] * expected[3:] + 128 / 255 * (1 - expected[3:])
    # Both average finer drawings, by other points.
    assert float((drawn - blended).abs().mean()) < 0.02
    assert float((drawn - 128 / 255).abs().mean()) > 0.1


def test_a_sticker_is_cut_at_the_edge_of_the_image() -> None:
    corners = ((-8.0, 60.0), (8.0, 60.0), (8.0, 76.0), (-8.0, 76.0))
    drawn = PlacedSticker(PICTURES[0], corners).draw_on(GREY)
    assert bool((drawn != GREY)[:, 62:, :7].any())
    away = tuple((x + 500, y) for x, y in corners)
    assert torch.equal(PlacedSticker(PICTURES[0], away).draw_on(GREY), GREY)


def test_photographs_differ_in_pose_and_light_and_repeat_with_their_seed() -> None:
    sticker, box = SignSticker(picture=PICTURES[0]), torch.tensor([10.0, 5, 70, 65])
    first, again, other = (
        sticker.photographed(box, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first.light != other.light and max(first.light) < 1.3
    edges = torch.tensor(first.corners) - torch.tensor(first.corners).roll(1, 0)
    lengths = edges.norm(dim=1)
    assert float(lengths.max() / lengths.min()) > 1.02  # no square any more


def test_light_darkens_the_sticker_only() -> None:
    corners = ((20.0, 10.0), (44.0, 10.0), (44.0, 34.0), (20.0, 34.0))
    bright, dark = (
        PlacedSticker(PICTURES[0], corners, light=(factor,) * 3).draw_on(GREY).double()
        for factor in (1.0, 0.5)
    )
    assert float(dark[:, 14:30, 24:40].mean()) < 0.6 * float(bright[:, 14:30, 24:40].mean())
    assert torch.equal(dark[:, :10], bright[:, :10])
