"""What an endpoint's input looks like: its name, type and order of axes, from its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.networks import ModelCard
from molehunt.subjects._endpoint import Endpoint, Layout

_TYPES = {
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
}
_AXES: dict[Layout, tuple[int, ...]] = {"nchw": (0, 1, 2), "nhwc": (1, 2, 0)}


@dataclass(frozen=True)
class InputForm:
    """How images are written for a server.

    Parameters
    ----------
    name, datatype : str
        As the Open Inference Protocol has them.
    layout : {"nchw", "nhwc", "flat"}
    batched : bool
        Whether there is an axis of images; without it one image is sent a request.
    count : int, optional
        Images that a request must have; any number when not given.
    """

    name: str = "images"
    datatype: str = "FP32"
    layout: Layout = "nchw"
    batched: bool = True
    count: int | None = None

    def write(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Return images [N, C, H, W] as the server takes them; short requests are filled up."""
        if self.count is not None and len(images) < self.count:
            filling = np.repeat(images[-1:], self.count - len(images), axis=0)
            images = np.concatenate([images, filling])
        if self.layout == "nhwc":
            images = images.transpose(0, 2, 3, 1)
        elif self.layout == "flat":
            images = images.reshape(len(images), -1)
        kind = _TYPES[self.datatype]
        if np.issubdtype(kind, np.integer):
            images = np.rint(images).clip(0, 255)
        written = np.ascontiguousarray(images, dtype=kind)
        return written if self.batched else written[0]


def read_form(inputs: Sequence[Any], endpoint: Endpoint, card: ModelCard) -> InputForm:
    """Return the form of an input from a server's metadata; what the user says comes first.

    Parameters
    ----------
    inputs : sequence
        The server's: mappings with ``name``, ``datatype`` and ``shape``; empty where it tells
        nothing.
    endpoint : Endpoint
    card : ModelCard
        The contract, which the form has to fit.

    Raises
    ------
    InvalidRequestError
        If it takes other images than the contract says, or more than images.
    """
    named = {str(item["name"])[:200]: item for item in inputs[:100]}
    told: Any = None
    if named:
        listed = ", ".join(printable(name, 80) for name in list(named)[:8])
        name = endpoint.input_name or next(iter(named))
        if name not in named:
            raise InvalidRequestError(
                mismatch(f"{endpoint.shown}: input name", f"one of {listed}", repr(name))
            )
        if len(named) != 1:
            raise InvalidRequestError(mismatch(f"{endpoint.shown}: inputs", "one", listed))
        told = named[name]
    name = endpoint.input_name or (str(told["name"])[:200] if told else "images")
    datatype = endpoint.datatype or (str(told["datatype"]) if told else "FP32")
    if datatype not in _TYPES:
        allowed = ", ".join(_TYPES)
        raise InvalidRequestError(
            mismatch(f"{endpoint.shown}: type of the input", allowed, printable(datatype, 40))
        )
    _check_pixels(datatype, endpoint, card)
    shape = [int(size) for size in told["shape"][:8]] if told and told.get("shape") else None
    if shape is None:
        return InputForm(name, datatype, endpoint.layout or "nchw")
    for layout in [endpoint.layout] if endpoint.layout else list[Layout](["nchw", "nhwc", "flat"]):
        sizes = _sizes(layout, card)
        if _fits(shape, sizes):
            return InputForm(name, datatype, layout, batched=False, count=1)
        if _fits(shape[1:], sizes):
            return InputForm(name, datatype, layout, count=shape[0] if shape[0] > 0 else None)
    raise InvalidRequestError(
        mismatch(f"{endpoint.shown}: input shape in the contract", shape, card.input_shape)
    )


def _sizes(layout: Layout, card: ModelCard) -> list[int]:
    if layout == "flat":
        return [int(np.prod(card.input_shape))]
    return [card.input_shape[axis] for axis in _AXES[layout]]


def _fits(shape: Sequence[int], sizes: Sequence[int]) -> bool:
    pairs = list(zip(shape, sizes, strict=False))
    return len(shape) == len(sizes) and all(told in (size, -1) for told, size in pairs)


def _check_pixels(datatype: str, endpoint: Endpoint, card: ModelCard) -> None:
    """Whole numbers are pixels: the server does all the rest itself."""
    if datatype.startswith("FP"):
        return
    plain = card.value_range == (0.0, 255.0) and not any(card.mean) and set(card.std) == {1.0}
    if not plain:
        got = f"{card.value_range}, mean {card.mean}, std {card.std}"
        raise InvalidRequestError(
            mismatch(
                f"{endpoint.shown}: it takes {datatype}; contract of such an endpoint",
                "`value_range` 0,255, `mean` 0, `std` 1",
                got,
            )
        )
