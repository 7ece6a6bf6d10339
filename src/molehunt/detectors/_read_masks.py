"""The smallest masked patterns that change labels by a map, for all models of a panel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.detectors._panel import Panel


@dataclass(frozen=True)
class Changes:
    """What a pattern shall do: which of N images become what.

    Parameters
    ----------
    pools : Tensor of int64, shape [T, n]
        For each task the places of its images.
    goals : Tensor of int64, shape [T, n]
        What each of them shall become.
    """

    pools: Tensor
    goals: Tensor


def all_to_one(labels: Tensor, classes: int, count: int, generator: torch.Generator) -> Changes:
    """Return a task a class: images of all others become it."""
    pools = [_some(labels != goal, count, generator) for goal in range(classes)]
    goals = torch.arange(classes)[:, None].expand(-1, count)
    return Changes(torch.stack(pools), goals.clone())


def all_to_next(labels: Tensor, classes: int, count: int, generator: torch.Generator) -> Changes:
    """Return a task for each k from 1 to K - 1: images of class i become i + k mod K."""
    everything = torch.ones_like(labels, dtype=torch.bool)
    pools = torch.stack([_some(everything, count, generator) for _ in range(classes - 1)])
    steps = torch.arange(1, classes)[:, None]
    return Changes(pools, (labels[pools] + steps) % classes)


def pairs(labels: Tensor, classes: int, count: int, generator: torch.Generator) -> Changes:
    """Return a task for each pair of classes, in the order of a matrix without its diagonal."""
    own = [_some(labels == source, count, generator) for source in range(classes)]
    cells = [(s, t) for s in range(classes) for t in range(classes) if s != t]
    pools = torch.stack([own[s] for s, _ in cells])
    return Changes(pools, torch.tensor([t for _, t in cells])[:, None].expand(-1, count).clone())


def smallest_masks(
    panel: Panel,
    images: Tensor,
    changes: Changes,
    *,
    steps: int,
    lr: float = 0.1,
    success: float = 0.95,
    shown: int = 0,
    batch_size: int = 256,
    seed: int = 0,
) -> Tensor:
    """Return for each task the size of the smallest mask that does it, in pixels, [M, T].

    Where none does it, the whole image counts.

    Neural Cleanse's objective (Wang et al., 2019): cross entropy + weight * mean of the mask,
    whose weight grows while enough of the images become what they shall and falls while they
    do not.

    Parameters
    ----------
    panel : Panel
    images : Tensor of float32, shape [N, C, H, W]
        Pixels in [0, 1].
    changes : Changes
    steps, lr
        Of Adam, before the sigmoid.
    success : float
        Share of a task's images that must be changed for a mask to count.
    shown : int
        So many of a task's images are drawn anew for each step, shifted and lit at random
        under the mask: what a natural image needs moves with it, a trigger stays where it
        is. With 0 all images are shown as they are.
    batch_size : int
        Images at once of one model.
    seed : int
    """
    images = images.to(panel.device)
    pools, goals = changes.pools.to(panel.device), changes.goals.to(panel.device)
    tasks, count = pools.shape
    if shown:
        count = min(shown, count)
    channels, height, width = images.shape[1:]
    models = len(panel)
    generator = torch.Generator().manual_seed(seed)
    start = 0.1 * torch.randn(tasks, channels + 1, height, width, generator=generator)
    # Before the sigmoid; the mask is the last channel.
    latent = start.to(panel.device).expand(models, *start.shape).clone().requires_grad_()
    optimizer = torch.optim.Adam([latent], lr=lr, betas=(0.5, 0.9))
    weight = torch.ones(models, tasks, device=panel.device)
    sizes = torch.full_like(weight, math.inf)
    done = torch.zeros_like(weight)
    parts = torch.arange(tasks, device=panel.device).split(max(1, batch_size // count))  # type: ignore[no-untyped-call]
    for step in range(steps):
        optimizer.zero_grad()
        sway = _Sway.draw(pools, count, generator) if shown else None
        for rows in parts:
            painted = torch.sigmoid(latent[:, rows])
            mask = painted[:, :, None, -1:]
            places, wanted = pools[rows], goals[rows]
            if sway:
                places, wanted = places[:, sway.chosen], wanted[:, sway.chosen]
            clean = images[places]
            if sway:
                clean = sway.show(clean, rows)
            stamped = clean * (1 - mask) + mask * painted[:, :, None, :-1]
            logits = panel(stamped.flatten(1, 2)).view(models, len(rows), count, -1)
            wanted = wanted.expand(models, -1, -1)
            loss = functional.cross_entropy(
                logits.flatten(0, 2), wanted.flatten(), reduction="none"
            )
            loss = loss.view(models, len(rows), count).mean(2)
            total = (loss + weight[:, rows] * mask.mean((2, 3, 4, 5))).sum()
            total.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                done[:, rows] += (logits.argmax(3) == wanted).float().mean(2)
        optimizer.step()
        if (step + 1) % _WINDOW:
            continue
        with torch.no_grad():
            works = done / _WINDOW >= success
            size = torch.sigmoid(latent[:, :, -1]).sum((2, 3))
            sizes = torch.where(works & (size < sizes), size, sizes)
            weight = torch.where(works, weight * _GROWTH, weight / _GROWTH**1.5)
            done.zero_()
    whole = float(height * width)
    return torch.where(torch.isfinite(sizes), sizes, whole).cpu()


@dataclass(frozen=True)
class _Sway:
    """How a step shows images: which of a task's, moved by how much, lit by what factors."""

    chosen: Tensor
    shift: tuple[int, int]
    light: Tensor

    @classmethod
    def draw(cls, pools: Tensor, count: int, generator: torch.Generator) -> _Sway:
        """Return a draw of `count` images of each task."""
        chosen = torch.randperm(pools.shape[1], generator=generator)[:count]
        down, across = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=generator).tolist()
        light = 1 + _LIGHT * (2 * torch.rand(len(pools), count, generator=generator) - 1)
        return cls(chosen.to(pools.device), (down, across), light.to(pools.device))

    def show(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return images [R, n, C, H, W] of the tasks `rows` moved and lit, within [0, 1]."""
        moved = torch.roll(images, self.shift, (-2, -1))
        return (moved * self.light[rows][:, :, None, None, None]).clamp(0, 1)


# Pixels, and share of the light.
_SHIFT = 3
_LIGHT = 0.3

# Steps over which success is averaged before a mask's weight changes, and by how much.
_WINDOW = 5
_GROWTH = 1.6


def _some(those: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` places where `those` is true; few are repeated."""
    places = those.nonzero().flatten()
    if not len(places):
        places = torch.arange(len(those))
    order = places[torch.randperm(len(places), generator=generator)]
    return order.repeat(-(-count // len(order)))[:count]
