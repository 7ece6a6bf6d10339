"""What a monitor remembers of a query, and when it raises an alarm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch

Digests = NDArray[np.uint8]
_AT_ONCE = 500  # queries: a larger piece makes matrices that leave the cache
# How many queries honest accounts have, beside one account with all of them: a monitor may
# accuse more often where it knows little, or where it knows much.
_ACCOUNTS = (200, 1000)


@dataclass(frozen=True)
class Alarm:
    """A query that a monitor holds for part of an attack.

    Parameters
    ----------
    monitor : str
    score, threshold : float
        The higher, the more suspicious; an alarm is a score above its threshold.
    """

    monitor: str
    score: float
    threshold: float


class Monitor(BaseModel, ABC):
    """One way to see an attack in the queries of one account.

    A monitor has no state: what it remembers of a query is a row of bytes, its digest, and it
    judges new digests by those before them. So a store of any kind holds the state, and how
    queries came in batches changes nothing.

    Parameters
    ----------
    threshold : float, optional
        Above which a score is an alarm; see `calibrate`.

    Attributes
    ----------
    kind : str
        Its name, of which a guard has one.
    memory : int
        How many digests of an account before a query it looks at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    threshold: float | None = None
    # An alarm means nothing below, however rare such scores are in clean images.
    least: ClassVar[float] = -np.inf

    @property
    @abstractmethod
    def memory(self) -> int:
        """Number of digests before a query that its score depends on."""

    @property
    @abstractmethod
    def earliest(self) -> int:
        """Number of the first query of an account that can raise an alarm, whatever is asked.

        So m accounts in turn are not seen before query (earliest - 1) * m + 1, and an attack
        of no more than (earliest - 1) * m queries never.
        """

    @abstractmethod
    def digest(self, images: Tensor, labels: Tensor) -> Digests:
        """Return what is remembered of queries, uint8 [N, bytes]; one row says nothing of others.

        Parameters
        ----------
        images : Tensor of float32, shape [N, C, H, W], in [0, 1]
        labels : Tensor of int64, shape [N]
            What the model took them for.
        """

    @abstractmethod
    def _scores(self, history: Digests, digests: Digests) -> NDArray[np.float64]:
        """Return the score of each digest, -inf where it is too early to say."""

    def scores(self, history: Digests, digests: Digests) -> NDArray[np.float64]:
        """Return how suspicious each query is, given those before it, float64 [N].

        Parameters
        ----------
        history : array of uint8, shape [M, bytes]
            Of the account, the oldest first; what is older than `memory` does not count.
        digests : array of uint8, shape [N, bytes]
            Of new queries in their order.

        Returns
        -------
        array of float64, shape [N]
            -inf where an account has asked too little.
        """
        past, found = history[-self.memory :], [np.empty(0)]
        for start in range(0, len(digests), _AT_ONCE):
            new = digests[start : start + _AT_ONCE]
            found.append(self._scores(past, new))
            if start + len(new) < len(digests):
                past = np.concatenate([past, new])[-self.memory :]
        return np.concatenate(found)

    def judge(self, history: Digests, digests: Digests) -> list[Alarm | None]:
        """Return an alarm for each query that calls for one; parameters as in `scores`.

        Raises
        ------
        InvalidRequestError
            If the monitor has no threshold.
        """
        if self.threshold is None:
            raise InvalidRequestError(
                mismatch(f"monitor {self.kind}", "a threshold (calibrate it)", "none")
            )
        return [
            Alarm(self.kind, float(score), self.threshold) if score > self.threshold else None
            for score in self.scores(history, digests)
        ]

    def calibrate(self, images: Tensor, labels: Tensor, *, false_alarms: float) -> Self:
        """Return the monitor with a threshold that honest queries seldom pass.

        Parameters
        ----------
        images : Tensor of float32, shape [N, C, H, W], in [0, 1]
            Queries of honest users, in an order that one of them could ask in: as of one
            account, and as of accounts with 1,000 and with 200 queries each. The threshold
            holds for all three.
        labels : Tensor of int64, shape [N]
            What the model takes them for.
        false_alarms : float
            Most of these queries, as a share, that may raise an alarm.

        Raises
        ------
        InvalidRequestError
            If there are too few images to say so small a rate, or to fill the memory.
        """
        needed = max(self.memory + 1, int(np.ceil(1 / false_alarms)) if false_alarms > 0 else 0)
        if not 0 < false_alarms < 1:
            raise InvalidRequestError(mismatch("rate of false_alarms", "0 to 1", false_alarms))
        if len(images) < needed:
            allowed = f"{needed} or more for a rate of {false_alarms:g}"
            raise InvalidRequestError(mismatch("images for calibration", allowed, len(images)))
        digests = self.digest(images, labels)
        passed = int(false_alarms * len(digests))
        thresholds = [self.least]
        for length in (*_ACCOUNTS, len(digests)):
            accounts = (digests[n : n + length] for n in range(0, len(digests), length))
            scores = np.concatenate([self.scores(digests[:0], each) for each in accounts])
            thresholds.append(float(np.sort(scores)[::-1][passed]))
        return self.model_copy(update={"threshold": max(thresholds)})


def before(history: int, new: int, memory: int) -> NDArray[np.bool_]:
    """Return which of history and new digests each new one may look at, bool [new, history + new].

    Examples
    --------
    >>> before(1, 2, 1).astype(int).tolist()
    [[1, 0, 0], [0, 1, 0]]
    """
    place = np.arange(history, history + new)[:, None]
    other = np.arange(history + new)[None]
    seen: NDArray[np.bool_] = (other < place) & (other >= place - memory)
    return seen
