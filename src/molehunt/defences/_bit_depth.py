"""Fewer shades: the bit depth of pixels is reduced."""

from __future__ import annotations

from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class BitDepth(nn.Module):
    """Pixels rounded to 2^bits equally far values (Guo et al., 2018; Xu, Evans and Qi, 2018).

    The gradient of rounding is zero almost everywhere.

    Parameters
    ----------
    bits : int
        1 to 8.

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> import torch
    >>> BitDepth(bits=1)(torch.tensor([0.2, 0.7])).tolist()
    [0.0, 1.0]
    """

    def __init__(self, *, bits: int = 3) -> None:
        super().__init__()
        if not 1 <= bits <= 8:
            raise InvalidRequestError(mismatch("bits", "1 to 8", bits))
        self.steps: int = 2**bits - 1

    def forward(self, pixels: Tensor) -> Tensor:
        """Return pixels of the same shape."""
        return (pixels * self.steps).round() / self.steps

    def approximation(self, pixels: Tensor) -> Tensor:
        """Return the pixels as they are."""
        return pixels
