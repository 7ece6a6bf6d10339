"""Where what is remembered of accounts lies."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from molehunt.errors import InvalidRequestError, MolehuntError, mismatch
from molehunt.guard._monitor import Digests


class StoreError(MolehuntError):
    """A store that does not answer."""


@dataclass(frozen=True)
class Standing:
    """What is known of an account beside its digests.

    Parameters
    ----------
    queries : int
        That the monitors have seen.
    alarms : int
        Queries that raised one.
    flagged_at : int, optional
        The number of the first query that raised an alarm; the first query is 1.
    flagged_by : str, optional
        The monitor that raised it.
    """

    queries: int = 0
    alarms: int = 0
    flagged_at: int | None = None
    flagged_by: str | None = None

    @property
    def is_flagged(self) -> bool:
        """Whether any query raised an alarm."""
        return self.flagged_at is not None

    def after(self, queries: int, alarms: int, first: tuple[int, str] | None) -> Standing:
        """Return the standing after more queries; parameters as in `Store.record`.

        Examples
        --------
        >>> Standing(queries=10).after(5, 1, (3, "prada"))
        Standing(queries=15, alarms=1, flagged_at=13, flagged_by='prada')
        """
        grown = replace(self, queries=self.queries + queries, alarms=self.alarms + alarms)
        if self.is_flagged or first is None:
            return grown
        return replace(grown, flagged_at=self.queries + first[0], flagged_by=first[1])


class Store(Protocol):
    """What a guard needs of a store. Digests are rows of bytes; the store knows no monitor.

    A call with an account that is not known is a call with one that never asked. `record` is
    one transaction.
    """

    def close(self) -> None:
        """Give back what it holds open; it is not asked again."""

    def standing(self, account: str) -> Standing:
        """Return what is known of an account."""
        ...

    def recall(self, account: str, most: Mapping[str, int]) -> dict[str, Digests]:
        """Return the last digests, the oldest first: for each monitor at most so many.

        Where there are none the array has shape [0, 0].
        """
        ...

    def record(
        self,
        account: str,
        digests: Mapping[str, Digests],
        most: Mapping[str, int],
        *,
        queries: int,
        alarms: int,
        first: tuple[int, str] | None,
    ) -> Standing:
        """Append digests, forget all but the last ones, and return the new standing.

        Parameters
        ----------
        account : str
        digests : mapping
            From a monitor's name to its new digests, uint8 [N, bytes].
        most : mapping
            From a monitor's name to how many digests are kept.
        queries, alarms : int
            How many came, and how many of them raised an alarm.
        first : (int, str), optional
            The place of the first of those among the new queries, from 1, and its monitor.
        """
        ...

    def forget(self, account: str) -> None:
        """Forget an account, its digests and its standing."""
        ...


@dataclass
class _Account:
    standing: Standing = Standing()
    digests: dict[str, Digests] = field(default_factory=dict)


class MemoryStore:
    """A store of one process, gone with it. Threads may share it.

    Parameters
    ----------
    accounts : int
        Of which it keeps digests; then the one that was quiet longest is forgotten, flagged
        ones only where they are more than half: else many of them would leave new accounts
        unwatched.

    Examples
    --------
    >>> store = MemoryStore(accounts=10)
    >>> rows = {"prada": np.zeros((3, 2), dtype=np.uint8)}
    >>> store.record("ann", rows, {"prada": 2}, queries=3, alarms=0, first=None).queries
    3
    >>> store.recall("ann", {"prada": 5})["prada"].shape
    (2, 2)
    """

    def __init__(self, *, accounts: int = 10_000) -> None:
        if accounts < 1:
            raise InvalidRequestError(mismatch("accounts of a store", "1 or more", accounts))
        self._most = accounts
        self._quiet: OrderedDict[str, _Account] = OrderedDict()
        self._flagged: OrderedDict[str, _Account] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Nothing is open."""

    def standing(self, account: str) -> Standing:
        """Return what is known of an account; see `Store`."""
        with self._lock:
            return self._find(account).standing

    def recall(self, account: str, most: Mapping[str, int]) -> dict[str, Digests]:
        """Return the last digests of an account; see `Store`."""
        with self._lock:
            held = self._find(account).digests
            none = np.zeros((0, 0), dtype=np.uint8)
            return {name: _last(held.get(name, none), count) for name, count in most.items()}

    def record(
        self,
        account: str,
        digests: Mapping[str, Digests],
        most: Mapping[str, int],
        *,
        queries: int,
        alarms: int,
        first: tuple[int, str] | None,
    ) -> Standing:
        """Append digests, and return the new standing; see `Store`."""
        with self._lock:
            found = self._find(account)
            for name, rows in digests.items():
                held = found.digests.get(name)
                kept = max(0, most[name] - len(rows))
                before = rows[:0] if held is None else _last(held, kept)
                # A copy, so that longer arrays are freed.
                found.digests[name] = np.concatenate([before, _last(rows, most[name])])
            found.standing = found.standing.after(queries, alarms, first)
            self._quiet.pop(account, None)
            self._flagged.pop(account, None)
            (self._flagged if found.standing.is_flagged else self._quiet)[account] = found
            if len(self._quiet) + len(self._flagged) > self._most:
                many = len(self._flagged) > self._most // 2
                (self._flagged if many else self._quiet).popitem(last=False)
            return found.standing

    def forget(self, account: str) -> None:
        """Forget an account; see `Store`."""
        with self._lock:
            self._quiet.pop(account, None)
            self._flagged.pop(account, None)

    def __len__(self) -> int:
        return len(self._quiet) + len(self._flagged)

    def _find(self, account: str) -> _Account:
        return self._quiet.get(account) or self._flagged.get(account) or _Account()


def _last(rows: Digests, count: int) -> Digests:
    return rows[max(0, len(rows) - count) :]
