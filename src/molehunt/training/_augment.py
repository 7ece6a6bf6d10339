"""Augmentation of a batch, on the device that holds it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.training._recipe import Recipe


def augment(inputs: Tensor, recipe: Recipe, *generators: torch.Generator) -> Tensor:
    """Return a batch [N, C, H, W] in [0, 1] shifted and noisy as the recipe says.

    The batch is as many equal parts as there are generators, and what is drawn for a part
    comes from its own, on the CPU, so that a seed means the same on every device.
    """
    count, *shape = inputs.shape
    count //= len(generators)
    if recipe.shift:
        ways = 2 * recipe.shift + 1
        moves = [torch.randint(0, ways, (2, count, 1), generator=g) for g in generators]
        inputs = _shift(inputs, recipe.shift, torch.cat(moves, dim=1).to(inputs.device))
    if recipe.noise:
        noise = torch.cat([_noise((count, *shape), recipe.noise, g) for g in generators])
        inputs = (inputs + noise.to(inputs.device)).clamp_(0, 1)
    return inputs


def _noise(shape: tuple[int, ...], most: float, generator: torch.Generator) -> Tensor:
    strength = most * torch.rand(shape[0], 1, 1, 1, generator=generator)
    return strength * torch.randn(shape, generator=generator)


def _shift(inputs: Tensor, most: int, moves: Tensor) -> Tensor:
    """Return `inputs` with each image moved; `moves` [2, N, 1] are from 0 to 2 * `most`."""
    count, _, height, width = inputs.shape
    rows = (moves[0] + torch.arange(height, device=inputs.device))[:, :, None]
    columns = (moves[1] + torch.arange(width, device=inputs.device))[:, None, :]
    index = torch.arange(count, device=inputs.device)[:, None, None]
    padded = functional.pad(inputs, (most, most, most, most))
    # Indexing around the channel dimension puts it last: [N, H, W, C].
    return padded[index, :, rows, columns].permute(0, 3, 1, 2)
