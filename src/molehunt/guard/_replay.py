"""When monitors would have flagged queries that were asked, from one account or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.guard._monitor import Digests, Monitor
from molehunt.guard._query_log import QueryLog
from molehunt.progress import Progress, silent

ANY = "any"
_PIECE = 250


@dataclass(frozen=True)
class Replayed:
    """What a monitor says of a log whose queries come from accounts in turn.

    Parameters
    ----------
    monitor : str
        ``any`` for the first alarm of all monitors together.
    accounts : int
        That asked.
    queries : int
        Of all accounts.
    first : int, optional
        The number of the query, among all, that raised the first alarm.
    flagged : int
        Accounts that raised an alarm.
    answered : int
        Queries before their account's first alarm: what a guard that blocks answers, where
        nobody takes over the share of a blocked account.
    """

    monitor: str
    accounts: int
    queries: int
    first: int | None
    flagged: int
    answered: int


def replay(
    log: QueryLog,
    monitors: Sequence[Monitor],
    accounts: Sequence[int] = (1,),
    *,
    progress: Progress = silent,
) -> list[Replayed]:
    """Say when each monitor would have raised its first alarm, for numbers of accounts.

    The queries stay what they were: an attack that was blocked or misled would have asked
    others. `Guarded` runs the attack itself.

    Parameters
    ----------
    log : QueryLog
    monitors : sequence of Monitor
        With thresholds.
    accounts : sequence of int
        The n-th query is of account n modulo that number.
    progress : Progress
        In accounts.

    Returns
    -------
    list of Replayed
        For each number of accounts one a monitor, and ``any``.

    Raises
    ------
    InvalidRequestError
        If a number of accounts is below 1, or a monitor has no threshold.

    Examples
    --------
    >>> import torch
    >>> from molehunt.guard import NearestNeighbours
    >>> log = QueryLog(torch.zeros(30, 1, 8, 8, dtype=torch.uint8), torch.zeros(30).long())
    >>> monitor = NearestNeighbours(neighbours=9, window=50, threshold=-0.1)
    >>> [found.first for found in replay(log, [monitor], [1, 2, 4]) if found.monitor != "any"]
    [10, 19, None]
    """
    for count in accounts:
        if count < 1:
            raise InvalidRequestError(mismatch("number of `accounts`", "1 or more", count))
    pixels = log.images.float().div_(255)
    digests = {monitor.kind: monitor.digest(pixels, log.labels) for monitor in monitors}
    found, done = [], 0
    for count in accounts:
        firsts: dict[str, list[int | None]] = {monitor.kind: [] for monitor in monitors}
        for account in range(min(count, len(log))):
            for monitor in monitors:
                own = digests[monitor.kind][account::count]
                firsts[monitor.kind].append(_first_alarm(monitor, own))
            done += 1
            progress(done, sum(min(number, len(log)) for number in accounts))
        firsts[ANY] = [
            min((place for place in places if place is not None), default=None)
            for places in zip(*firsts.values(), strict=True)
        ]
        found += [_summed(name, count, len(log), places) for name, places in firsts.items()]
    return found


def _first_alarm(monitor: Monitor, rows: Digests) -> int | None:
    """Return the place of the first alarm in the queries of one account."""
    if len(rows) < monitor.earliest:
        return None
    for start in range(0, len(rows), _PIECE):
        past = rows[max(0, start - monitor.memory) : start]
        alarms = monitor.judge(past, rows[start : start + _PIECE])
        for place, alarm in enumerate(alarms):
            if alarm is not None:
                return start + place
    return None


def _summed(name: str, accounts: int, queries: int, places: Sequence[int | None]) -> Replayed:
    numbers = [
        place * accounts + account + 1 for account, place in enumerate(places) if place is not None
    ]
    answered = sum(
        len(range(account, queries, accounts)) if place is None else place
        for account, place in enumerate(places)
    )
    return Replayed(name, accounts, queries, min(numbers, default=None), len(numbers), answered)
