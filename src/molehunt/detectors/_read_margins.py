"""How far each class can be pushed above all others, for all models of a panel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.detectors._panel import Panel


def largest_margins(
    panel: Panel, *, starts: int = 3, steps: int = 60, lr: float = 0.2, seed: int = 0
) -> Tensor:
    """Return the largest margin of each class over any image, float32 [M, K].

    The optimisation of `MaximumMargin` (Wang et al., MM-BD, 2024): for each class the logit
    less the largest other one is maximised over images in [0, 1] from `starts` random ones,
    the same for all models.
    """
    generator = torch.Generator().manual_seed(seed)
    classes, models = panel.classes, len(panel)
    shape = panel.skeleton.card.input_shape
    images = torch.rand(classes * starts, *shape, generator=generator).to(panel.device)
    goals = torch.arange(classes, device=panel.device).repeat_interleave(starts)
    images = images.expand(models, *images.shape).clone().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        (images.grad,) = torch.autograd.grad(-margins_of(panel(images), goals).sum(), images)
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    with torch.no_grad():
        found = margins_of(panel(images), goals)
    return found.view(models, classes, starts).amax(2).cpu()


def margins_of(logits: Tensor, goals: Tensor) -> Tensor:
    """Return by how much the goals' logits [..., N] are above the largest others [..., N, K]."""
    chosen = functional.one_hot(goals, logits.shape[-1]).bool().expand_as(logits)
    best = logits.masked_fill(chosen, -torch.inf).amax(-1)
    return (logits * chosen).sum(-1) - best
