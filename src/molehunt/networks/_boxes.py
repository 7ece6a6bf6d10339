"""A decision tree as its leaves: boxes of pixels, each with its logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch

_AT_ONCE = 10_000_000  # comparisons


class Boxes(nn.Module):
    """Logits of the first box that an image lies in; of the nearest box where it lies in none.

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (height, width)
    leaves : int
        Number of boxes. Fill `low`, `high` (both [leaves, pixels]; low < x <= high) and
        `logits` [leaves, num_classes].

    Raises
    ------
    InvalidRequestError
        If there is no box.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> half = {"input_shape": (1, 1, 1), "num_classes": 2, "arguments": {"leaves": 2}}
    >>> tree = build_network("boxes", **half)
    >>> tree.low.copy_(torch.tensor([[-1.0], [0.5]]))
    tensor([[-1.0000],
            [ 0.5000]])
    >>> tree.high.copy_(torch.tensor([[0.5], [2.0]]))
    tensor([[0.5000],
            [2.0000]])
    >>> tree.logits.copy_(torch.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    >>> tree(torch.tensor([[[[0.4]]], [[[0.6]]]])).argmax(1).tolist()
    [0, 1]
    """

    low: Tensor
    high: Tensor
    logits: Tensor

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int | tuple[int, int],
        *,
        leaves: int,
    ) -> None:
        super().__init__()
        if leaves < 1:
            raise InvalidRequestError(mismatch("leaves of boxes", "1 or more", leaves))
        height, width = (image_size,) * 2 if isinstance(image_size, int) else image_size
        pixels = in_channels * height * width
        self.register_buffer("low", torch.zeros(leaves, pixels))
        self.register_buffer("high", torch.ones(leaves, pixels))
        self.register_buffer("logits", torch.zeros(leaves, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        rows = images.flatten(1)
        size = max(1, _AT_ONCE // self.low.numel())
        parts = [self._choose(part) for part in rows.split(size)]  # type: ignore[no-untyped-call]
        return self.logits[torch.cat(parts)]

    def _choose(self, rows: Tensor) -> Tensor:
        # Outside by how much, in the worst pixel; the lower edge is not of the box.
        above = (self.low - rows[:, None]).amax(2)
        beyond = (rows[:, None] - self.high).amax(2)
        inside = (above < 0) & (beyond <= 0)
        order = torch.arange(-len(self.low), 0, device=rows.device)
        return torch.where(inside, order, above.maximum(beyond)).argmin(1)
