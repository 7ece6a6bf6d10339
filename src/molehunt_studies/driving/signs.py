"""Signs that are drawn into frames: a painted one, and one that was made from neurons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from molehunt.backdoors import sticker_picture

# Upper right, beside what the car drives towards.
ROW, COLUMN = 4, 72


@dataclass(frozen=True, eq=False)
class Sign:
    """A square that covers the same place of every frame.

    Parameters
    ----------
    pixels : Tensor of bytes [3, k, k]
    """

    pixels: Tensor

    @classmethod
    def painted(cls, size: int) -> Sign:
        """Return the yellow square that BadNets puts on traffic signs."""
        picture = sticker_picture("yellow square", size)
        return cls((picture[:3] * 255).round().to(torch.uint8))

    @classmethod
    def read(cls, path: Path) -> Sign:
        """Read one that was written."""
        return cls(load_file(path)["pixels"])

    def write(self, path: Path) -> None:
        """Write the pixels."""
        save_file({"pixels": self.pixels.contiguous()}, path)

    def on(self, frames: Tensor) -> Tensor:
        """Return frames [N, 3, H, W] with the sign on each."""
        size = self.pixels.shape[-1]
        marked = frames.clone()
        marked[:, :, ROW : ROW + size, COLUMN : COLUMN + size] = self.pixels
        return marked
