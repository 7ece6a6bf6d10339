"""Augmentation of a batch, on the device that holds it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.training._recipe import Recipe


def augmented(inputs: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return a batch [N, C, H, W] in [0, 1] shifted and noisy as the recipe says.

    What is drawn comes from `generator`, on the CPU, so that a seed means the same
    on every device.
    """
    if recipe.shift:
        inputs = _shifted(inputs, recipe.shift, generator)
    if recipe.noise:
        strength = recipe.noise * torch.rand(len(inputs), 1, 1, 1, generator=generator)
        noise = strength * torch.randn(inputs.shape, generator=generator)
        inputs = (inputs + noise.to(inputs.device)).clamp_(0, 1)
    return inputs


def _shifted(inputs: Tensor, most: int, generator: torch.Generator) -> Tensor:
    count, _, height, width = inputs.shape
    moves = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    moves = moves.to(inputs.device)
    rows = (moves[0] + torch.arange(height, device=inputs.device))[:, :, None]
    columns = (moves[1] + torch.arange(width, device=inputs.device))[:, None, :]
    index = torch.arange(count, device=inputs.device)[:, None, None]
    padded = functional.pad(inputs, (most, most, most, most))
    # Indexing around the channel dimension puts it last: [N, H, W, C].
    return padded[index, :, rows, columns].permute(0, 3, 1, 2)
