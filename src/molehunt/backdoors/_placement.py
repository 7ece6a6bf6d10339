"""Where on an image a patch goes."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch

Corner = Literal["top left", "top right", "bottom left", "bottom right"]
CORNERS: tuple[Corner, ...] = ("top left", "top right", "bottom left", "bottom right")

Placement = Annotated[
    Corner | Literal["random corner", "anywhere"] | tuple[int, int],
    Field(
        description="a corner, 'random corner' or 'anywhere' (drawn for each image), or the row "
        "and column of the patch's top left pixel, negative ones counted from the far edge"
    ),
]


def top_left_pixels(
    placement: Placement,
    count: int,
    *,
    image: tuple[int, int],
    patch: int,
    margin: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the row and column of the patch's top left pixel for each of `count` images.

    Parameters
    ----------
    image : (height, width)
        Of the images, in pixels.
    patch : int
        Height and width of the patch, in pixels.
    margin : int
        Pixels left free at the image's edges by corners and ``anywhere``.

    Returns
    -------
    Tensor of int64, shape [count, 2]

    Raises
    ------
    InvalidRequestError
        If the patch does not fit there.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import top_left_pixels
    >>> place = {"image": (28, 28), "patch": 3, "margin": 1, "generator": torch.Generator()}
    >>> top_left_pixels("bottom right", 2, **place).tolist()
    [[24, 24], [24, 24]]
    """
    room = torch.tensor([side - patch - margin for side in image])
    if int(room.min()) < margin:
        allowed = f"at most {min(image) - 2 * margin} pixels on {image[0]}x{image[1]} images"
        raise InvalidRequestError(mismatch("trigger size", allowed, f"{patch} pixels"))
    if placement == "anywhere":
        share = torch.rand(count, 2, generator=generator)
        return margin + (share * (room - margin + 1)).long()
    if placement == "random corner":
        far = torch.randint(0, 2, (count, 2), generator=generator)
    elif isinstance(placement, str):
        far = torch.tensor(["bottom" in placement, "right" in placement]).long().expand(count, 2)
    else:
        position = [p + side if p < 0 else p for p, side in zip(placement, image, strict=True)]
        last = [side - patch for side in image]
        if any(not 0 <= p <= end for p, end in zip(position, last, strict=True)):
            allowed = f"rows 0 to {last[0]} and columns 0 to {last[1]}"
            raise InvalidRequestError(mismatch("trigger placement", allowed, placement))
        return torch.tensor(position).expand(count, 2)
    return torch.where(far == 1, room, torch.tensor(margin))
