"""Small copies of images, and how far they are apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molehunt.guard._monitor import Digests


def thumbnails(images: Tensor, side: int) -> Digests:
    """Return images [N, C, H, W] in [0, 1] as means of at most side x side areas, uint8 rows.

    Examples
    --------
    >>> import torch
    >>> thumbnails(torch.ones(2, 3, 8, 8), 2).shape
    (2, 12)
    """
    height, width = images.shape[2:]
    small = functional.adaptive_avg_pool2d(
        images.detach().cpu().float(), (min(side, height), min(side, width))
    )
    rows: Digests = small.flatten(1).mul(255).round().clamp(0, 255).byte().numpy()
    return rows


def distances(rows: Digests, others: Digests) -> NDArray[np.float32]:
    """Return Euclidean distances between rows of bytes, float32 [N, M], of pixels in [0, 1].

    Examples
    --------
    >>> distances(np.uint8([[0, 0]]), np.uint8([[0, 255], [0, 0]])).tolist()
    [[1.0, 0.0]]
    """
    left, right = rows.astype(np.float32), others.astype(np.float32)
    lengths = [np.einsum("ij,ij->i", side, side) for side in (left, right)]
    squares = lengths[0][:, None] + lengths[1][None] - 2 * left @ right.T
    far: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0)) / np.float32(255)
    return far
