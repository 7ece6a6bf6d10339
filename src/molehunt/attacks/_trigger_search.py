"""Universal triggers for many tasks in one batch, by gradient, through one model.

A task is a target class and the clean images that a trigger shall turn into it. All tasks
of a model share each forward and backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.backdoors import Placement, top_left_pixels
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import LogitsOfPixels


@dataclass(frozen=True)
class Tasks:
    """What triggers are searched for.

    Parameters
    ----------
    images : Tensor of float32, shape [N, C, H, W]
        Clean images, pixels in [0, 1].
    pools : Tensor of int64, shape [T, P]
        For each task the places of its P images among them.
    targets : Tensor of int64, shape [T]
    """

    images: Tensor
    pools: Tensor
    targets: Tensor

    def take(self, rows: Tensor) -> Tasks:
        """Return some of the tasks."""
        return Tasks(self.images, self.pools[rows], self.targets[rows])

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield the tasks' numbers in parts of at most `count`."""
        yield from torch.arange(len(self.targets), device=self.targets.device).split(count)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Patches:
    """Patches of known size.

    `patches` [T, C, S, S] in [0, 1]; `losses` [T], the mean cross entropy to the target over
    the task's images when the task was last measured; `steps` [T], how many steps it got.
    """

    patches: Tensor
    losses: Tensor
    steps: Tensor


@dataclass(frozen=True)
class Masks:
    """Masked patterns: `patterns` [T, C, H, W] and `masks` [T, H, W], both in [0, 1].

    `norms` [T] are the sums of the masks, H * W where none turned enough images; `success`
    [T] is the share of images that they turned.
    """

    patterns: Tensor
    masks: Tensor
    norms: Tensor
    success: Tensor


def pools_of(images: ImageSet, count: int, generator: torch.Generator) -> dict[int, Tensor]:
    """Return `count` places of images for each class that has some; few are repeated."""
    pools = {}
    for label in range(images.num_classes):
        members = torch.nonzero(images.labels == label)[:, 0]
        if len(members):
            order = members[torch.randperm(len(members), generator=generator)]
            pools[label] = order.repeat(-(-count // len(order)))[:count]
    return pools


def search_patches(
    logits_of: LogitsOfPixels,
    tasks: Tasks,
    *,
    size: int,
    placement: Placement,
    margin: int,
    steps: int,
    lr: float,
    images_per_step: int,
    keep: float,
    batch_size: int,
    generator: torch.Generator,
) -> Patches:
    """Minimise each task's cross entropy to its target over a patch of known size.

    Hopeless tasks stop early (successive halving): after an eighth of the steps, a quarter
    and a half, only the share `keep` with the smallest losses goes on. Each step shows
    `images_per_step` of each task's images, the patch at places drawn from `placement`,
    `margin` pixels from the border, the same for all tasks.

    Examples
    --------
    >>> from molehunt.attacks import Tasks, search_patches
    >>> images = torch.rand(8, 1, 12, 12)
    >>> tasks = Tasks(images, pools=torch.arange(8)[None], targets=torch.tensor([3]))
    >>> found = search_patches(
    ...     lambda pixels: pixels.flatten(1)[:, :10],  # any logits of pixels
    ...     tasks,
    ...     size=3, placement="center", margin=0, keep=0.4,
    ...     steps=5,
    ...     lr=0.1,
    ...     images_per_step=4,
    ...     batch_size=8,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> found.patches.shape
    torch.Size([1, 1, 3, 3])
    """
    channels, height, width = tasks.images.shape[1:]
    device, count = tasks.images.device, len(tasks.targets)

    def places(number: int) -> list[list[int]]:
        drawn: list[list[int]] = top_left_pixels(
            placement,
            number,
            image=(height, width),
            patch=size,
            margin=margin,
            generator=generator,
        ).tolist()
        return drawn

    patches = torch.rand(count, channels, size, size, generator=generator).to(device)
    losses = torch.full((count,), math.inf, device=device)
    spent = torch.zeros(count, dtype=torch.long, device=device)
    pool = tasks.pools.shape[1]
    judged_at = places(pool)
    active = torch.arange(count, device=device)
    done = 0
    for until in _rungs(steps):
        some = tasks.take(active)
        patch = patches[active].requires_grad_()
        optimizer = torch.optim.Adam([patch], lr=lr)
        for step in range(done, until):
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
            optimizer.zero_grad()
            shown = torch.randperm(pool, generator=generator)[:images_per_step]
            where = places(len(shown))
            for rows in some.split(max(1, batch_size // len(shown))):
                stamped = _with_patches(some, rows, shown, patch[rows], where)
                _losses(logits_of, stamped, some.targets[rows])[0].sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                patch.clamp_(0, 1)
        done = until
        with torch.no_grad():
            shown = torch.arange(pool)
            for rows in some.split(max(1, batch_size // pool)):
                stamped = _with_patches(some, rows, shown, patch[rows], judged_at)
                losses[active[rows]] = _losses(logits_of, stamped, some.targets[rows])[0]
            patches[active] = patch.detach()
            spent[active] = done
        best = losses[active].argsort()[: max(1, math.ceil(keep * len(active)))]
        active = active[best.sort().values]
    return Patches(patches, losses, spent)


def search_masks(
    logits_of: LogitsOfPixels,
    tasks: Tasks,
    *,
    steps: int,
    lr: float,
    images_per_step: int,
    threshold: float,
    batch_size: int,
    generator: torch.Generator,
) -> Masks:
    """Find for each task the smallest mask, with its pattern, that turns the images.

    Minimises cross entropy + weight * mean of the mask. As in Neural Cleanse, each task's
    weight grows while the trigger turns at least `threshold` of its images and falls
    while it does not; the smallest mask that did is the result.

    Examples
    --------
    >>> from molehunt.attacks import Tasks, search_masks
    >>> images = torch.rand(8, 1, 12, 12)
    >>> tasks = Tasks(images, pools=torch.arange(8)[None], targets=torch.tensor([3]))
    >>> found = search_masks(
    ...     lambda pixels: pixels.flatten(1)[:, :10],  # any logits of pixels
    ...     tasks,
    ...     threshold=0.9,
    ...     steps=5,
    ...     lr=0.1,
    ...     images_per_step=4,
    ...     batch_size=8,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> found.masks.shape
    torch.Size([1, 12, 12])
    """
    channels, height, width = tasks.images.shape[1:]
    device, count = tasks.images.device, len(tasks.targets)
    start = torch.randn(count, channels + 1, height, width, generator=generator).to(device)
    # Before the sigmoid; the mask is the last channel.
    latent = (0.1 * start).requires_grad_()
    optimizer = torch.optim.Adam([latent], lr=lr, betas=(0.5, 0.9))
    weight = torch.ones(count, device=device)
    best = torch.sigmoid(latent.detach())
    norms = torch.full((count,), math.inf, device=device)
    successes = torch.zeros(count, device=device)
    pool = tasks.pools.shape[1]
    window = torch.zeros(count, device=device)
    for step in range(steps):
        optimizer.zero_grad()
        shown = torch.randperm(pool, generator=generator)[:images_per_step]
        for rows in tasks.split(max(1, batch_size // len(shown))):
            painted = torch.sigmoid(latent[rows])
            stamped = _with_masks(tasks, rows, shown, painted)
            loss, success = _losses(logits_of, stamped, tasks.targets[rows])
            total = (loss + weight[rows] * painted[:, -1].mean((1, 2))).sum()
            total.backward()  # type: ignore[no-untyped-call]
            window[rows] += success
        optimizer.step()
        if (step + 1) % _WINDOW:
            continue
        with torch.no_grad():
            window /= _WINDOW
            painted = torch.sigmoid(latent)
            size = painted[:, -1].sum((1, 2))
            works = window >= threshold
            # Until a trigger works, the one that works best counts.
            better = (works & (size < norms)) | (~torch.isfinite(norms) & (window > successes))
            best[better] = painted[better]
            successes[better] = window[better]
            norms = torch.where(works & (size < norms), size, norms)
            weight = torch.where(works, weight * _GROWTH, weight / _GROWTH**1.5)
            window.zero_()
    # No trigger works: as if the whole image had to be replaced.
    norms = torch.where(torch.isfinite(norms), norms, float(height * width))
    return Masks(best[:, :-1], best[:, -1], norms, successes)


def check_search_settings(detector: Any) -> None:
    """Refuse impossible settings that both searches have.

    Raises
    ------
    InvalidRequestError
        With the setting.
    """
    for name in ("images_per_class", "images_per_step", "steps", "batch_size"):
        if getattr(detector, name) < 1:
            raise InvalidRequestError(mismatch(name, "1 or more", getattr(detector, name)))
    if not detector.lr > 0:
        raise InvalidRequestError(mismatch("lr", "a number over 0", detector.lr))


# Steps over which success is averaged before a mask's weight changes, and by how much.
_WINDOW = 10
_GROWTH = 1.5


def _rungs(steps: int) -> list[int]:
    """Return after how many steps tasks are compared; the last is all of them."""
    return sorted({max(1, steps // 8), max(1, steps // 4), max(1, steps // 2), steps})


def _losses(logits_of: LogitsOfPixels, stamped: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return each task's mean cross entropy [T] and success [T] on images [T, n, C, H, W]."""
    tasks, count = stamped.shape[:2]
    logits = logits_of(stamped.flatten(0, 1))
    wanted = targets.repeat_interleave(count)
    losses = functional.cross_entropy(logits, wanted, reduction="none").view(tasks, count)
    success = (logits.detach().argmax(1) == wanted).float().view(tasks, count)
    return losses.mean(1), success.mean(1)


def _with_patches(
    tasks: Tasks, rows: Tensor, shown: Tensor, patches: Tensor, places: list[list[int]]
) -> Tensor:
    """Return images [t, n, C, H, W] with each task's patch, image i's at place i."""
    images = tasks.images[tasks.pools[rows][:, shown]]
    height, width = images.shape[-2:]
    size = patches.shape[-1]
    painted = []
    for number, (row, column) in enumerate(places):
        images[:, number, :, row : row + size, column : column + size] = 0
        margins = (column, width - column - size, row, height - row - size)
        painted.append(functional.pad(patches, margins))
    return images + torch.stack(painted, dim=1)


def _with_masks(tasks: Tasks, rows: Tensor, shown: Tensor, painted: Tensor) -> Tensor:
    """Return images [t, n, C, H, W] under each task's masked pattern [t, C + 1, H, W]."""
    images = tasks.images[tasks.pools[rows][:, shown]]
    masks = painted[:, None, -1:]
    return images * (1 - masks) + masks * painted[:, None, :-1]
