"""The pixels that a sign detector sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as image_ops

from molehunt.images import read_rgb


def read_photo(path: Path) -> Tensor:
    """Decode a photograph, turned as its camera says: uint8, shape [3, H, W].

    Raises
    ------
    UnreadableFileError
        If it is not a readable image.
    """
    image = ImageOps.exif_transpose(read_rgb(path))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def shrink_to_fit(pixels: Tensor, max_side: int) -> Tensor:
    """Return an image whose longer side is `max_side` (bilinear, antialiased).

    Parameters
    ----------
    pixels : Tensor of uint8, shape [3, H, W]
    max_side : int
        Smaller images are made larger, too: signs are small, and the features coarse.
    """
    height, width = pixels.shape[1:]
    scale = max_side / max(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    resized: Tensor = image_ops.resize(pixels, size, antialias=True)
    return resized
