"""Queries that are too near to one another (Chen, Carlini and Wagner)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from molehunt.guard._monitor import Digests, Monitor, before
from molehunt.guard._thumbnails import distances, thumbnails


class NearestNeighbours(Monitor):
    """The mean distance of a query to the nearest ones before it.

    Chen, Carlini and Wagner, "Stateful detection of black-box adversarial attacks" (2019).
    They compare the outputs of an encoder; here small copies of the images are compared.
    Whatever the attack, an account is not flagged before its k-th query: that is the law by
    which many accounts defeat it.

    Parameters
    ----------
    neighbours : int
        How many of the nearest count; k of the paper.
    window : int
        Of so many queries before this one.
    side : int
        Pixels along a side of the small copy that is remembered.

    Examples
    --------
    >>> import torch
    >>> monitor = NearestNeighbours(neighbours=2, window=10, threshold=-0.1)
    >>> same = monitor.digest(torch.full((4, 1, 8, 8), 0.5), torch.zeros(4))
    >>> [alarm is not None for alarm in monitor.judge(same[:0], same)]
    [False, False, True, True]
    """

    kind: Literal["neighbours"] = "neighbours"
    neighbours: int = Field(default=50, ge=1, le=1000)
    window: int = Field(default=1000, ge=1, le=10_000)
    side: int = Field(default=14, ge=1, le=64)

    @property
    def memory(self) -> int:
        """The window."""
        return self.window

    @property
    def earliest(self) -> int:
        """One more than it wants neighbours."""
        return self.neighbours + 1

    def digest(self, images: Tensor, labels: Tensor) -> Digests:
        """Return small copies, uint8 [N, C * side * side]."""
        return thumbnails(images, self.side)

    def _scores(self, history: Digests, digests: Digests) -> NDArray[np.float64]:
        """Return minus the mean distance to the nearest."""
        rows = np.concatenate([history, digests])
        seen = before(len(history), len(digests), self.window)
        far = np.where(seen, distances(digests, rows), np.inf)
        if far.shape[1] < self.neighbours:
            return np.full(len(digests), -np.inf)
        nearest = np.partition(far, self.neighbours - 1, axis=1)[:, : self.neighbours]
        means: NDArray[np.float64] = nearest.mean(axis=1, dtype=np.float64)
        return -means
