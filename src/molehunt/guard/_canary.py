"""Queries that no camera takes: single pixels that stand out from those around them."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from molehunt.guard._monitor import Digests, Monitor


class Canary(Monitor):
    """How noisy the noisiest of the last queries are.

    Attacks that jump (salt and pepper, starts from random noise, random images for theft) leave
    no near neighbours, but their images are strange one by one: a median filter over 3x3 pixels
    changes them much. One strange image is an accident, so the score is that of the `count`-th
    strangest of the last queries. Ours, after no paper.

    Parameters
    ----------
    count : int
        Strange queries that make an alarm.
    window : int
        Of so many queries, this one included.

    Examples
    --------
    >>> monitor = Canary(count=2, window=5, threshold=0.2)
    >>> draw = torch.Generator().manual_seed(0)
    >>> noise = torch.rand(3, 1, 8, 8, generator=draw).round()
    >>> rows = monitor.digest(torch.cat([torch.ones(2, 1, 8, 8), noise]), torch.zeros(5))
    >>> [alarm is not None for alarm in monitor.judge(rows[:0], rows)]
    [False, False, False, True, True]
    """

    kind: Literal["canary"] = "canary"
    count: int = Field(default=5, ge=1)
    window: int = Field(default=50, ge=1, le=10_000)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.count > self.window:
            raise ValueError(f"count: expected at most {self.window}, got {self.count}")
        return self

    @property
    def memory(self) -> int:
        """The window, less the query itself; at least 1."""
        return max(1, self.window - 1)

    @property
    def earliest(self) -> int:
        """As many as make an alarm."""
        return self.count

    def digest(self, images: Tensor, labels: Tensor) -> Digests:
        """Return how much a median filter changes each image, in two bytes, uint8 [N, 2]."""
        pixels = images.detach().cpu().float()
        padded = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
        height, width = pixels.shape[2:]
        views = [
            padded[:, :, row : row + height, column : column + width]
            for row in range(3)
            for column in range(3)
        ]
        change = (torch.stack(views).median(dim=0).values - pixels).abs().flatten(1).mean(1)
        return change.mul(65535).round().clamp(0, 65535).numpy().astype("<u2")[:, None].view("u1")

    def _scores(self, history: Digests, digests: Digests) -> NDArray[np.float64]:
        """Return the `count`-th largest change in the window, or the query's own if smaller."""
        rows = np.ascontiguousarray(np.concatenate([history, digests])).view("<u2")[:, 0]
        changes = rows.astype(np.float64) / 65535
        # Nothing was asked before the first query.
        missing = max(0, self.window - 1 - len(history))
        known = np.concatenate([np.full(missing, -np.inf), changes])
        windows = sliding_window_view(known, self.window)[-len(digests) :]
        place = self.window - self.count
        strange = np.partition(windows, place, axis=1)[:, place]
        return np.minimum(strange, changes[len(history) :])
