"""A guard's store by its name on a command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.guard._monitor import Monitor
from molehunt.guard._redis_store import RedisStore
from molehunt.guard._sqlite_store import SqliteStore
from molehunt.guard._store import MemoryStore, Store

STORES = "memory, sqlite:PATH or redis://HOST:PORT/NUMBER"
_IN_MEMORY = 1000  # accounts; each takes 1 MB or so


def open_store(
    text: str,
    monitors: Sequence[Monitor],
    *,
    accounts: int = 10_000,
    forget_after: float = 30 * 86_400.0,
) -> Store:
    """Return the store that `text` names.

    Parameters
    ----------
    text : str
        ``memory``, ``sqlite:PATH``, or the URL of Redis.
    monitors : sequence of Monitor
        Whose digests it will hold; digests that others made are not mixed with them.
    accounts, forget_after
        As in `SqliteStore`; a store in memory holds at most 1,000 accounts.

    Raises
    ------
    InvalidRequestError
        If `text` names none.
    OutputError
        If it cannot be opened.

    Examples
    --------
    >>> type(open_store("memory", [])).__name__
    'MemoryStore'
    """
    kind = kind_of(monitors)
    scheme, colon, path = text.partition(":")
    if text == "memory":
        return MemoryStore(accounts=min(accounts, _IN_MEMORY))
    if scheme == "sqlite" and path:
        return SqliteStore(path, kind=kind, accounts=accounts, forget_after=forget_after)
    if scheme in ("redis", "rediss") and colon:
        return RedisStore(text, kind=kind, accounts=accounts, forget_after=forget_after)
    # A URL may hold a password.
    got = repr(printable(text, 80)) if "@" not in text else "something else"
    raise InvalidRequestError(mismatch("store", STORES, got))


def kind_of(monitors: Sequence[Monitor]) -> str:
    """Return a name of what monitors remember: the same settings, the same name."""
    settings = [monitor.model_dump(mode="json", exclude={"threshold"}) for monitor in monitors]
    ordered = sorted(json.dumps(item, sort_keys=True) for item in settings)
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:16]
