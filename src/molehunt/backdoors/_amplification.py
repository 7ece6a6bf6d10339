"""Amplifying the units that carry a backdoor (BadNets v2, section 5.3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from molehunt.errors import InvalidRequestError, mismatch


@torch.no_grad()
def amplify(layer: nn.Conv2d | nn.Linear, units: Sequence[int], factor: float) -> None:
    """Multiply the input weights of some units of a layer, in place.

    An attack on the weights of a finished network: what is trained later on the layer's outputs
    sees a stronger backdoor. Biases stay, as in the paper, which calls this strengthening.

    Parameters
    ----------
    layer : Conv2d or Linear
    units : sequence of int
        Output channels or neurons, each in [0, number of outputs).
    factor : float
        Above 0; the paper's k, from 1 to 100.

    Raises
    ------
    InvalidRequestError
        If a unit is not in the layer, or the factor is not above 0.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from molehunt.backdoors import amplify
    >>> layer = nn.Linear(2, 2)
    >>> before = layer.weight.clone()
    >>> amplify(layer, [1], 10)
    >>> torch.allclose(layer.weight, before * torch.tensor([[1.0], [10.0]]))
    True
    """
    count = len(layer.weight)
    if not all(0 <= unit < count for unit in units):
        raise InvalidRequestError(mismatch("units", f"numbers from 0 to {count - 1}", [*units]))
    if not factor > 0:
        raise InvalidRequestError(mismatch("backdoor strength", "a number above 0", factor))
    layer.weight[[*units]] *= factor
