"""Queries that share most of their pixels (Blacklight)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor

from molehunt.guard._monitor import Digests, Monitor, before


class HashedWindows(Monitor):
    """The largest number of hashes of pixel windows that a query shares with one before it.

    Li et al., "Blacklight" (USENIX Security 2022): pixels are quantised, each window of
    neighbouring pixels is hashed, and the largest hashes are the fingerprint. Deviations: a
    multilinear hash with a secret key (Lemire and Kaser, 2014) in the place of SHA-3: no one
    outside sees a hash, so it need not be hard to invert; hashes that an image has twice count
    once.

    Parameters
    ----------
    salt : int
        The secret key. Who knows it can choose which windows are compared.
    window : int
        Neighbouring pixels that are hashed together.
    step : int
        Of the quantisation, in shades of 255.
    keep : int
        Hashes of a fingerprint.
    window_of_queries : int
        So many queries before this one are compared.

    Examples
    --------
    >>> import torch
    >>> monitor = HashedWindows(salt=7, threshold=24)
    >>> image = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> near = image + 0.001
    >>> rows = monitor.digest(torch.cat([image, 1 - image, near]).clamp(0, 1), torch.zeros(3))
    >>> [alarm is not None for alarm in monitor.judge(rows[:0], rows)]
    [False, False, True]
    """

    kind: Literal["hashed-windows"] = "hashed-windows"
    salt: int = Field(ge=0, lt=2**64)
    window: int = Field(default=20, ge=1, le=200)
    step: int = Field(default=50, ge=1, le=255)
    keep: int = Field(default=50, ge=1, le=200)
    window_of_queries: int = Field(default=1000, ge=1, le=10_000)
    # An alarm takes a match of half of the paper's fingerprint: 25 of 50.
    least: ClassVar[float] = 24

    @property
    def memory(self) -> int:
        """The window of queries."""
        return self.window_of_queries

    @property
    def earliest(self) -> int:
        """The second."""
        return 2

    def digest(self, images: Tensor, labels: Tensor) -> Digests:
        """Return the largest hashes, 4 bytes each, uint8 [N, 4 * keep]; 0 is none."""
        shades = images.detach().cpu().flatten(1).mul(255).round().clamp(0, 255).byte().numpy()
        values = (shades // self.step).astype(np.uint64)
        window = min(self.window, values.shape[1])
        count = values.shape[1] - window + 1
        generator = np.random.Generator(np.random.PCG64(self.salt))
        keys = generator.integers(2**64, size=window + 1, dtype=np.uint64)
        # All is modulo 2^64; the upper half is the hash.
        sums = np.full((len(values), count), keys[-1], dtype=np.uint64)
        for place in range(window):
            sums += keys[place] * values[:, place : place + count]
        hashes = np.sort((sums >> np.uint64(32)).astype(np.uint32), axis=1)
        hashes[:, 1:][hashes[:, 1:] == hashes[:, :-1]] = 0
        hashes.sort(axis=1)
        kept = np.zeros((len(values), self.keep), dtype=np.uint32)
        most = min(self.keep, count)
        kept[:, :most] = hashes[:, count - most :]
        return kept.view(np.uint8)

    def _scores(self, history: Digests, digests: Digests) -> NDArray[np.float64]:
        """Return the largest number of shared hashes, -inf of the very first query."""
        rows = np.ascontiguousarray(np.concatenate([history, digests])).view(np.uint32)
        new = rows[len(history) :]
        seen = before(len(history), len(digests), self.memory)
        known = np.unique(new[new != 0])
        if not len(known):
            return np.where(seen.any(axis=1), 0.0, -np.inf)
        lines, columns = _find(rows, known)
        if len(new) == 1:  # the usual case of a server
            shared = np.bincount(lines, minlength=len(rows))[None]
            return _largest(shared, seen)
        ends = np.concatenate([[0], np.cumsum(np.bincount(lines, minlength=len(rows)))])
        table = csr_array(
            (np.ones(ends[-1], dtype=np.int32), columns, ends), shape=(len(rows), len(known))
        )
        shared = (table[len(history) :] @ table.T).toarray()
        return _largest(shared, seen)


def _largest(shared: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    largest: NDArray[np.float64] = np.where(seen, shared, -np.inf).max(axis=1)
    return largest


def _find(
    rows: NDArray[np.uint32], known: NDArray[np.uint32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the line and the place in `known` (sorted) of each hash that is known, by lines."""
    # Few hashes are known: the lower half of one tells most others from them by one look.
    halves = np.zeros(2**16, dtype=bool)
    halves[known & 0xFFFF] = True
    lines, places = halves[rows & 0xFFFF].nonzero()
    hashes = rows[lines, places]
    columns = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    hits = known[columns] == hashes
    return lines[hits], columns[hits]
