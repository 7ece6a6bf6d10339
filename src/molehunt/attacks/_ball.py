"""Points of a ball around images, inside the cube of possible pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.attacks._evasion import Norm


def project(points: Tensor, images: Tensor, norm: Norm, epsilon: float) -> Tensor:
    """Return the points [N, C, H, W], brought into the ball around each image and into [0, 1].

    Examples
    --------
    >>> images = torch.zeros(1, 1, 1, 2)
    >>> project(torch.tensor([[[[3.0, 4.0]]]]), images, Norm.L2, 0.5)
    tensor([[[[0.3000, 0.4000]]]])
    """
    change = points - images
    if norm is Norm.LINF:
        change = change.clamp(-epsilon, epsilon)
    else:
        lengths = norm.of(change).clamp_min(1e-30).view(-1, 1, 1, 1)
        change = change * (epsilon / lengths).clamp_max(1)
    return (images + change).clamp(0, 1)


def random_change(images: Tensor, norm: Norm, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return a change of each image [N, C, H, W], drawn evenly from the ball.

    Examples
    --------
    >>> images = torch.zeros(100, 1, 2, 2)
    >>> change = random_change(images, Norm.L2, 0.5, torch.Generator().manual_seed(0))
    >>> bool((Norm.L2.of(change) <= 0.5).all())
    True
    """
    if norm is Norm.LINF:
        change = epsilon * (2 * torch.rand(images.shape, generator=generator) - 1)
        return change.to(images.device)
    direction = torch.randn(images.shape, generator=generator)
    numbers = direction[0].numel()
    radii = epsilon * torch.rand(len(images), generator=generator) ** (1 / numbers)
    change = direction * (radii / norm.of(direction)).view(-1, 1, 1, 1)
    return change.to(images.device)
