"""Queries whose distances are spread as no honest user's are (PRADA)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import shapiro
from torch import Tensor

from molehunt.guard._monitor import Digests, Monitor
from molehunt.guard._thumbnails import distances, thumbnails

_HISTORIES = 512
# Distances in histories, by window and content, so that an account's next query needs its own
# distance only. What is found is the same without.
_known: OrderedDict[tuple[int, int], NDArray[np.float64]] = OrderedDict()


class Prada(Monitor):
    """How far the distances of queries to the nearest one of their class are from normal.

    Juuti et al., "PRADA: Protecting against DNN model stealing attacks" (EuroS&P 2019):
    queries of honest users have distances that are nearly normal, those of who steals a model
    by synthetic queries have not. The test is Shapiro and Wilk's; the score is 1 - W.
    Deviations: the memory is a window of the last queries (the paper's set grows without end),
    and distances are of small copies.

    Parameters
    ----------
    window : int
        Distances that are tested together, each to queries at most so far back.
    least_distances : int
        Below which nothing is tested; 100 in the paper.
    side : int
        Pixels along a side of the small copy that is remembered.

    Examples
    --------
    >>> import torch
    >>> monitor = Prada(window=100, least_distances=20, threshold=0.1)
    >>> draw = torch.Generator().manual_seed(0)
    >>> honest = monitor.digest(torch.rand(60, 1, 8, 8, generator=draw), torch.zeros(60))
    >>> pairs = np.repeat(honest, 2, axis=0)
    >>> [any(monitor.judge(rows[:0], rows)) for rows in (honest, pairs)]
    [False, True]
    """

    kind: Literal["prada"] = "prada"
    window: int = Field(default=500, ge=10, le=5000)
    least_distances: int = Field(default=100, ge=3)
    side: int = Field(default=14, ge=1, le=64)

    @property
    def memory(self) -> int:
        """Two windows: the first distance that is tested has a window of its own."""
        return 2 * self.window

    @property
    def earliest(self) -> int:
        """One more than it tests distances."""
        return self.least_distances + 1

    def digest(self, images: Tensor, labels: Tensor) -> Digests:
        """Return the class in two bytes and a small copy, uint8 [N, 2 + C * side * side]."""
        classes = labels.detach().cpu().numpy().astype(np.uint16)[:, None].view(np.uint8)
        return np.concatenate([classes, thumbnails(images, self.side)], axis=1)

    def _scores(self, history: Digests, digests: Digests) -> NDArray[np.float64]:
        """Return 1 - W of the distances up to each query."""
        rows = np.concatenate([history, digests])
        start = max(0, len(history) + 1 - self.window)
        known = _known.get((self.window, hash(history.tobytes())))
        nearest = self._nearest(rows, start if known is None else len(history))
        if known is not None:
            nearest[: len(history)] = known
        found = np.full(len(digests), -np.inf)
        for number in range(len(digests)):
            end = len(history) + number + 1
            spread = nearest[max(0, end - self.window) : end]
            found[number] = self._abnormality(spread[np.isfinite(spread)])
        self._know(rows, nearest)
        return found

    def _know(self, rows: Digests, nearest: NDArray[np.float64]) -> None:
        """Keep distances for who asks with these rows as the history next."""
        key = (self.window, hash(rows[-self.memory :].tobytes()))
        _known[key] = nearest[-self.memory :]
        if len(_known) > _HISTORIES:
            _known.popitem(last=False)

    def _nearest(self, rows: Digests, start: int) -> NDArray[np.float64]:
        """Return the distance of each row to the nearest one of its class before it, or inf.

        Of rows before `start` nothing is computed.
        """
        classes = np.ascontiguousarray(rows[:, :2]).view(np.uint16)[:, 0]
        nearest = np.full(len(rows), np.inf)
        for label in np.unique(classes[start:]):
            others = (classes == label).nonzero()[0]
            places = others[others >= start]
            behind = places[:, None] - others[None]
            near = (behind > 0) & (behind <= self.window)
            far = np.where(near, distances(rows[places, 2:], rows[others, 2:]), np.inf)
            nearest[places] = far.min(axis=1)
        return nearest

    def _abnormality(self, spread: NDArray[np.float64]) -> float:
        if len(spread) < self.least_distances:
            return -np.inf
        centre, width = spread.mean(), spread.std()
        inner = spread[np.abs(spread - centre) <= 3 * width]
        # The test means nothing for what is all the same; that is far from normal.
        if len(inner) < 3 or np.ptp(inner) < 1e-9:
            return 1.0
        return 1 - float(shapiro(inner).statistic)
