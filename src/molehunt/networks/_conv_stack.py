"""Convolutional layers in sequence that run in oneDNN's own memory layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Channels in a block; with 8 or 12 channels a step takes twice as long, not less.
_BLOCK = 16


class ConvStack(nn.Sequential):
    """A sequence of convolutions, batch normalisation, ReLU and max pooling.

    Inside `blocked_layout` tensors between the layers lie in the blocked layout that oneDNN
    chooses for itself, in bfloat16. Its batch normalisation and pooling are faster than
    torch's: 1.3 to 1.4x for a step of a VGG-like network of width 16, 1.6x for one of 32 (one
    core with AMX).
    """

    blocked = False

    def forward(self, input: Tensor) -> Tensor:
        """Return what the last layer gives for images [N, C, H, W]."""
        if not self.blocked:
            output: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return output
        hidden = input.to_mkldnn(torch.bfloat16)
        for layer in self:
            hidden = _convolved(hidden, layer) if isinstance(layer, nn.Conv2d) else layer(hidden)
        return hidden.to_dense()


def _convolved(hidden: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return the convolution of a tensor in oneDNN's layout, which the layer itself refuses."""
    bias = None if layer.bias is None else layer.bias.to(torch.bfloat16)
    convolved: Tensor = torch.ops.aten.mkldnn_convolution(
        hidden,
        layer.weight.to(torch.bfloat16),
        bias,
        layer.padding,
        layer.stride,
        layer.dilation,
        layer.groups,
    )
    return convolved


def _in_whole_blocks(stack: ConvStack) -> bool:
    return all(layer.out_channels % _BLOCK == 0 for layer in stack if isinstance(layer, nn.Conv2d))


@contextmanager
def blocked_layout(network: nn.Module, wanted: bool) -> Iterator[None]:
    """Let every `ConvStack` of `network` whose channels fill whole blocks run in oneDNN's layout.

    Nothing is changed where it is not `wanted`: it asks for a CPU with bfloat16 instructions,
    and for batch normalisation in training mode or folded into its convolutions.
    """
    wanted = wanted and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    stacks = [part for part in network.modules() if isinstance(part, ConvStack)]
    for stack in stacks:
        stack.blocked = wanted and _in_whole_blocks(stack)
    try:
        yield
    finally:
        for stack in stacks:
            stack.blocked = False
