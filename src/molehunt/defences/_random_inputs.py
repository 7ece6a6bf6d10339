"""Random changes of what goes in: another size and place, or some of the pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.errors import InvalidRequestError, mismatch


class RandomResizing(nn.Module):
    """Each image shrunk by a random factor and put at a random place on black.

    After Xie et al. (2018), who enlarge images of 299 pixels to 299 to 331 and pad to 331.
    Networks for small images take one size, so here images shrink. Gradients flow.

    Parameters
    ----------
    smallest : float
        Least factor, above 0, under 1.
    seed : int

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> small = RandomResizing(smallest=0.5, seed=0)(torch.ones(1, 1, 8, 8))
    >>> bool(small.sum() < 64)
    True
    """

    def __init__(self, *, smallest: float = 0.85, seed: int = 0) -> None:
        super().__init__()
        if not 0 < smallest < 1:
            raise InvalidRequestError(mismatch("smallest", "above 0, under 1", smallest))
        self.smallest = smallest
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return pixels of the same shape [N, C, H, W]."""
        factor = 1 - (1 - self.smallest) * torch.rand(len(pixels), generator=self.generator)
        place = (2 * torch.rand(len(pixels), 2, generator=self.generator) - 1) * (
            1 - factor[:, None]
        )
        # From a place in the result to one in the image, both in [-1, 1].
        matrices = torch.zeros(len(pixels), 2, 3)
        matrices[:, 0, 0] = matrices[:, 1, 1] = 1 / factor
        matrices[:, :, 2] = -place / factor[:, None]
        matrices = matrices.to(pixels.device, pixels.dtype)
        grid = functional.affine_grid(matrices, list(pixels.shape), align_corners=False)
        return functional.grid_sample(pixels, grid, align_corners=False)


class RandomFeatures(nn.Module):
    """Each answer from a random part of the pixels; the others are black. Gradients flow.

    Parameters
    ----------
    keep : float
        Chance of each pixel to be seen, above 0, under 1.
    seed : int

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> float(RandomFeatures(keep=0.5, seed=0)(torch.ones(1, 1, 100, 100)).mean().round(decimals=1))
    0.5
    """

    def __init__(self, *, keep: float = 0.7, seed: int = 0) -> None:
        super().__init__()
        if not 0 < keep < 1:
            raise InvalidRequestError(mismatch("keep", "above 0, under 1", keep))
        self.keep = keep
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return pixels of the same shape [N, C, H, W]."""
        count, _, height, width = pixels.shape
        drawn = torch.rand(count, 1, height, width, generator=self.generator)
        return pixels * (drawn < self.keep).to(pixels.device, pixels.dtype)
