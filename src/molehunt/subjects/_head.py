"""How many classes weights decide between, as their own last layer tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from molehunt.subjects._architecture import build_architecture
from molehunt.subjects._checkpoints import Node
from molehunt.subjects._matching import Wanted
from molehunt.subjects._weights import nearest_match

_FEW, _MORE = 7, 11


def count_classes(
    tensors: Node,
    architecture: str,
    arguments: Mapping[str, Any],
    input_shape: tuple[int, int, int],
) -> int | None:
    """Return the number of outputs that the weights in a file have; None where it does not show.

    The last layer is what changes its shape when the architecture is built for another number
    of classes. An architecture that takes no such number is asked what it answers with.

    Raises
    ------
    InvalidRequestError
        If the architecture cannot be built.
    """
    few, more = (
        build_architecture(architecture, arguments, input_shape, count, on_meta=True).network
        for count in (_FEW, _MORE)
    )
    wanted, other = Wanted.of(few), Wanted.of(more)
    heads = {
        name: [place for place, side in enumerate(shape) if side != other.shapes[name][place]]
        for name, shape in wanted.shapes.items()
        if len(other.shapes.get(name, ())) == len(shape) and other.shapes[name] != shape
    }
    if not heads:
        return _outputs_of(few, input_shape)
    nearest = nearest_match(tensors, wanted)
    found = nearest.tensors if nearest else {}
    counts = {
        found[name].shape[places[0]]
        for name, places in heads.items()
        if name in found and len(places) == 1 and found[name].ndim > places[0]
    }
    return counts.pop() if len(counts) == 1 else None


def _outputs_of(network: nn.Module, input_shape: tuple[int, int, int]) -> int | None:
    """Return the width of a network's answer; None where it cannot be asked without values."""
    try:
        with torch.no_grad():
            answer = network.eval()(torch.empty(2, *input_shape, device="meta"))
    except Exception:  # a class of the user's own may need values
        return None
    if not isinstance(answer, Tensor) or answer.ndim not in (1, 2) or answer.shape[0] != 2:
        return None
    return int(answer.shape[1]) if answer.ndim == 2 else 1
