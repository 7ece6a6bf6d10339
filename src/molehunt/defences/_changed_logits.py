"""Defences after the last layer: logits that are scaled or noisy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class ScaledLogits(nn.Module):
    """Logits times a factor, so that a softmax in float32 saturates and its gradient vanishes.

    Labels stay, and confidences become 0 and 1. Nothing is to be approximated here: a loss
    that compares two logits climbs as before (Carlini and Wagner, 2017).

    Parameters
    ----------
    factor : float
        Above 0.

    Raises
    ------
    InvalidRequestError
    """

    def __init__(self, *, factor: float = 1000.0) -> None:
        super().__init__()
        if not 0 < factor < 1e6:
            raise InvalidRequestError(mismatch("factor", "above 0, under 1e6", factor))
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        """Return logits of the same shape."""
        return self.factor * logits


class OutputNoise(nn.Module):
    """Normal noise on the logits, drawn anew for each answer.

    Parameters
    ----------
    scale : float
        Its standard deviation, above 0.
    seed : int

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> noise = OutputNoise(scale=1.0, seed=0)
    >>> bool((noise(torch.zeros(1, 3)) != noise(torch.zeros(1, 3))).all())
    True
    """

    def __init__(self, *, scale: float, seed: int = 0) -> None:
        super().__init__()
        if not scale > 0:
            raise InvalidRequestError(mismatch("scale of the noise", "above 0", scale))
        self.scale = scale
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, logits: Tensor) -> Tensor:
        """Return logits of the same shape."""
        noise = torch.randn(logits.shape, generator=self.generator)
        return logits + self.scale * noise.to(logits.device, logits.dtype)
