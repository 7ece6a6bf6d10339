"""How images are brought into the form that a graph takes: layout, type, number at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, UnreadableFileError, mismatch, printable
from molehunt.networks import ModelCard


class Layout(StrEnum):
    """The order of an image's sides; N, the number of images, comes first."""

    CHANNELS_FIRST = "[N, C, H, W]"
    CHANNELS_LAST = "[N, H, W, C]"
    NO_CHANNELS = "[N, H, W]"
    FLAT = "[N, H x W]"


# What numbers a graph may take. Whole ones are pixels in 0..255: a graph for bytes has its
# normalisation inside.
FLOATS = {"float": torch.float32, "float16": torch.float16, "double": torch.float64}
BYTES = {"uint8": torch.uint8, "int32": torch.int32, "int64": torch.int64}


@dataclass(frozen=True)
class Feeding:
    """What a graph takes.

    Parameters
    ----------
    layout : Layout
    type : torch.dtype
        Of floating point, or whole numbers for pixels in 0..255.
    batch : int, optional
        How many images at once; None where it is open.
    """

    layout: Layout
    type: torch.dtype
    batch: int | None

    @property
    def takes_bytes(self) -> bool:
        """Whether it takes pixels in 0..255 as they are, and normalises them itself."""
        return not self.type.is_floating_point

    def inputs(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W] as the graph takes them.

        They are normalised as the contract says, or in [0, 1] for a graph that takes bytes.
        """
        if self.layout is Layout.CHANNELS_LAST:
            images = images.permute(0, 2, 3, 1)
        elif self.layout is Layout.NO_CHANNELS:
            images = images.squeeze(1)
        elif self.layout is Layout.FLAT:
            images = images.flatten(1)
        if self.takes_bytes:
            images = (images * 255).round().clamp(0, 255)
        return images.to(self.type)


def feeding_of(
    path: Path,
    inputs: Sequence[tuple[str, str, Sequence[Any]]],
    card: ModelCard,
    *,
    turned: bool = False,
) -> Feeding:
    """Return how to feed a graph.

    Parameters
    ----------
    path : Path
        For messages.
    inputs : sequence of (name, type, shape)
        Of the graph; the type as ONNX calls it (``float16``), an open side is no int.
    card : ModelCard
        Whose images it shall take.
    turned : bool
        Whether the graph turns [N, H, W, C] to [N, C, H, W] itself, where sides are open.

    Raises
    ------
    UnreadableFileError
        If it takes something else than images, or more than one thing.
    InvalidRequestError
        If it takes images of another shape than the contract says.
    """
    listed = printable(", ".join(f"{name} {kind} {_sides(shape)}" for name, kind, shape in inputs))
    if len(inputs) != 1:
        raise UnreadableFileError(mismatch(f"{path}: inputs", "one, for images", listed or "none"))
    ((_, kind, shape),) = inputs
    known = {**FLOATS, **BYTES}
    if kind not in known:
        allowed = f"one tensor of {', '.join(known)}"
        raise UnreadableFileError(mismatch(f"{path}: inputs", allowed, listed))
    layout = _layout(list(shape), card.input_shape, turned=turned)
    if layout is None:
        raise InvalidRequestError(
            mismatch(
                f"{path}: input shape in the contract (channels, height, width)",
                f"one that fits the graph's input, {listed}",
                card.input_shape,
            )
        )
    first = shape[0]
    return Feeding(layout, known[kind], first if isinstance(first, int) and first > 0 else None)


def _layout(shape: list[Any], wanted: tuple[int, int, int], *, turned: bool) -> Layout | None:
    channels, height, width = wanted
    layouts = {
        Layout.CHANNELS_FIRST: [channels, height, width],
        Layout.CHANNELS_LAST: [height, width, channels],
    }
    if turned:
        layouts = dict(reversed(layouts.items()))
    if channels == 1:
        layouts |= {Layout.NO_CHANNELS: [height, width], Layout.FLAT: [height * width]}
    return next((layout for layout, sides in layouts.items() if _fits(shape[1:], sides)), None)


def _fits(shape: list[Any], sides: list[int]) -> bool:
    """Tell whether open sides and fixed ones allow `sides`."""
    return len(shape) == len(sides) and all(
        not isinstance(mine, int) or mine <= 0 or mine == side
        for mine, side in zip(shape, sides, strict=True)
    )


def _sides(shape: Sequence[Any]) -> str:
    return "[" + ", ".join(str(side) for side in shape) + "]"
