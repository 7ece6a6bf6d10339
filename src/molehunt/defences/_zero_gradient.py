"""Functions that are flat almost everywhere, with the derivative that they have: nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd import Function


def zero_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return ``function(inputs)``, through which a gradient of zeros flows.

    Examples
    --------
    >>> import torch
    >>> pixels = torch.tensor([0.3], requires_grad=True)
    >>> zero_gradient(torch.ceil, pixels).sum().backward()
    >>> pixels.grad.tolist()
    [0.0]
    """
    result: Tensor = _Flat.apply(function, inputs)
    return result


class _Flat(Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = inputs.shape, inputs.dtype
        return function(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0].new_zeros(ctx.shape, dtype=ctx.dtype)
