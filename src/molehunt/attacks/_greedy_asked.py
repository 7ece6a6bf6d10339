"""What greedy attacks ask: how far changed images are from an error, and where to start."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.attacks._margins import margins
from molehunt.networks import Queried

_NOISE = 16  # images of noise among the starts


class Asked:
    """How far images are from an error of a model, by what a target reveals.

    Parameters
    ----------
    target : Queried
    labels : Tensor of int64, shape [N]
        What the images show.
    targets : Tensor of int64, shape [N], optional
        What each shall be taken for; without it any error will do.
    scores : bool
        Whether to ask for confidences; else for labels.
    most : int
        Questions about each image.
    """

    def __init__(
        self, target: Queried, labels: Tensor, targets: Tensor | None, *, scores: bool, most: int
    ) -> None:
        self.scores = scores
        self._target = target
        self._avoid = targets is None
        self._classes = labels if targets is None else targets
        self._left = torch.full_like(labels, most)

    def open(self, reserve: int = 0) -> Tensor:
        """Return which images, bool [N], have questions left beyond a reserve."""
        return self._left > reserve

    def margins(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return how far changed images are from an error, float [n]; below 0 they err.

        By scores it is a difference of logarithms of confidences, by labels 1 or -1.

        Parameters
        ----------
        images : Tensor of float32, shape [n, C, H, W]
        rows : Tensor of int64, shape [n]
            Of which of the N images each is a change.
        """
        self._left[rows] -= 1
        classes = self._classes[rows]
        if self.scores:
            shares = self._target.confidences(images).cpu()
            logs = shares.clamp_min(torch.finfo(torch.float32).tiny).log()
            return margins(logs, classes, None if self._avoid else classes)
        apart = torch.where(self._target.predict(images).cpu() == classes, 1.0, -1.0)
        return apart if self._avoid else -apart

    def starts(
        self, images: Tensor, pool: Tensor, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the images of a pool that are nearest to each image and of another class.

        A black, a white and some noise images join the pool; each one of it is asked once.

        Returns
        -------
        starts : Tensor of float32, shape [N, k, C, H, W]
            The nearest first, k at most `count`.
        fit : Tensor of bool, shape [N, k]
            Whether there are so many.
        """
        shape = images.shape[1:]
        noise = torch.rand((_NOISE, *shape), generator=generator).mul(255).round() / 255
        flat = torch.stack([torch.zeros(shape), torch.ones(shape)])
        pool = torch.cat([pool.mul(255).round() / 255, flat, noise])  # as they are saved
        same = self._target.predict(pool).cpu()[None] == self._classes[:, None]
        away = torch.cdist(images.flatten(1), pool.flatten(1), p=1)
        away[same if self._avoid else ~same] = torch.inf
        near = away.topk(min(count, len(pool)), largest=False)
        return pool[near.indices], near.values.isfinite()
