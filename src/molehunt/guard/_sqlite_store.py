"""A store in one SQLite file, for a server of one process."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from molehunt.errors import OutputError, printable
from molehunt.files import make_folder
from molehunt.guard._monitor import Digests
from molehunt.guard._store import MemoryStore, Standing, StoreError

_APPLICATION = 0x4D6F6C65  # of the file's header: "Mole"
_SCHEMA = """
CREATE TABLE about (kind TEXT NOT NULL);
CREATE TABLE accounts (
    account TEXT PRIMARY KEY, queries INTEGER NOT NULL, alarms INTEGER NOT NULL,
    flagged_at INTEGER, flagged_by TEXT, seen REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_age ON accounts (flagged_at IS NOT NULL, seen);
CREATE TABLE digests (
    account TEXT NOT NULL, monitor TEXT NOT NULL, last INTEGER NOT NULL,
    width INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (account, monitor, last)
);
"""
_BETWEEN_PURGES = 600.0  # seconds
_HELD = 256  # accounts of which digests are in memory, too


class SqliteStore:
    """What is remembered of accounts, in a file. Each `record` is in the file when it returns.

    A killed process loses nothing, a machine without power the last moments: the log of SQLite
    is not flushed at each record. One process at a time can have the file open; its threads may
    share the store.

    Parameters
    ----------
    path : path
        Made if it is missing, for its owner's eyes only.
    kind : str
        Of the digests, as their monitors' settings make them. Digests of another kind than the
        file has are forgotten; standings are kept.
    accounts : int
        Most of them; the one that was quiet longest is forgotten first, flagged ones only
        where they are more than half.
    forget_after : float
        Seconds without a query after which all of an account is forgotten, its alarms, too.

    Raises
    ------
    OutputError
        If the file cannot be made, is something else, or another process has it open.

    Examples
    --------
    >>> rows = {"prada": np.zeros((3, 2), dtype=np.uint8)}
    >>> store = SqliteStore("guard.sqlite")
    >>> store.record("ann", rows, {"prada": 2}, queries=3, alarms=0, first=None).queries
    3
    >>> store.close()
    >>> SqliteStore("guard.sqlite").recall("ann", {"prada": 2})["prada"].shape
    (2, 2)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        kind: str = "",
        accounts: int = 10_000,
        forget_after: float = 30 * 86_400.0,
    ) -> None:
        self._path, self._most, self._forget_after = Path(path), accounts, forget_after
        self._lock = threading.RLock()
        self._held: OrderedDict[str, MemoryStore] = OrderedDict()
        self._file = _open(self._path, kind)
        self._purged = 0.0
        with self._transaction():
            self._forget_quiet()

    def close(self) -> None:
        """Close the file; another process may open it then."""
        with self._lock:
            self._file.close()

    def standing(self, account: str) -> Standing:
        """Return what is known of an account; see `Store`."""
        with self._lock:
            return self._hold(account).standing(account)

    def recall(self, account: str, most: Mapping[str, int]) -> dict[str, Digests]:
        """Return the last digests of an account; see `Store`."""
        with self._lock:
            return self._hold(account).recall(account, most)

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
            held = self._hold(account)
            is_new = not held.standing(account).queries
            standing = held.record(
                account, digests, most, queries=queries, alarms=alarms, first=first
            )
            try:
                with self._transaction():
                    if is_new:
                        self._make_room()
                    self._write(account, standing, digests, most)
                    self._forget_quiet()
            except StoreError:
                self._held.pop(account, None)  # it is ahead of the file
                raise
            return standing

    def forget(self, account: str) -> None:
        """Forget an account; see `Store`."""
        with self._lock, self._transaction():
            self._drop([account])

    def _hold(self, account: str) -> MemoryStore:
        """Return a store in memory that has all of this account, and of no other."""
        held = self._held.get(account)
        if held is None:
            held = MemoryStore(accounts=1)
            self._read(account, held)
            self._held[account] = held
            if len(self._held) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(account)
        return held

    def _read(self, account: str, held: MemoryStore) -> None:
        """Copy an account from the file."""
        with self._transaction():
            found = self._file.execute(
                "SELECT queries, alarms, flagged_at, flagged_by FROM accounts WHERE account = ?",
                (account,),
            ).fetchone()
            pieces = self._file.execute(
                "SELECT monitor, width, bytes FROM digests WHERE account = ? ORDER BY last",
                (account,),
            ).fetchall()
        if found is None:
            return
        rows: dict[str, list[Digests]] = {}
        for monitor, width, content in pieces:
            piece = np.frombuffer(content, np.uint8).reshape(-1, width)
            rows.setdefault(monitor, []).append(piece)
        digests = {monitor: np.concatenate(parts) for monitor, parts in rows.items()}
        queries, alarms, flagged_at, flagged_by = found
        held.record(
            account,
            digests,
            {monitor: len(part) for monitor, part in digests.items()},
            queries=queries,
            alarms=alarms,
            first=None if flagged_at is None else (flagged_at, flagged_by),
        )

    def _write(
        self,
        account: str,
        standing: Standing,
        digests: Mapping[str, Digests],
        most: Mapping[str, int],
    ) -> None:
        # Not INSERT OR REPLACE: one account's row keeps its place in the index of ages.
        self._file.execute(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET "
            "queries = excluded.queries, alarms = excluded.alarms, "
            "flagged_at = excluded.flagged_at, flagged_by = excluded.flagged_by, "
            "seen = excluded.seen",
            (
                account,
                standing.queries,
                standing.alarms,
                standing.flagged_at,
                standing.flagged_by,
                time.time(),
            ),
        )
        for monitor, rows in digests.items():
            if len(rows):
                self._file.execute(
                    "INSERT INTO digests VALUES (?, ?, ?, ?, ?)",
                    (account, monitor, standing.queries, rows.shape[1], rows.tobytes()),
                )
            # The piece that holds the oldest row of the window stays whole.
            self._file.execute(
                "DELETE FROM digests WHERE account = ? AND monitor = ? AND last <= ?",
                (account, monitor, standing.queries - most[monitor]),
            )

    def _make_room(self) -> None:
        """Forget one account if there are as many as there may be."""
        (count,) = self._file.execute("SELECT COUNT(*) FROM accounts").fetchone()
        if count < self._most:
            return
        flagged = "flagged_at IS NOT NULL"
        (many,) = self._file.execute(f"SELECT COUNT(*) FROM accounts WHERE {flagged}").fetchone()
        order = "DESC" if many > self._most // 2 else "ASC"
        oldest = f"SELECT account FROM accounts ORDER BY {flagged} {order}, seen LIMIT 1"
        self._drop([account for (account,) in self._file.execute(oldest).fetchall()])

    def _forget_quiet(self) -> None:
        """Forget accounts that have asked nothing for long."""
        now = time.time()
        if now - self._purged >= _BETWEEN_PURGES:
            self._purged = now
            old = "SELECT account FROM accounts WHERE seen < ?"
            found = self._file.execute(old, (now - self._forget_after,)).fetchall()
            self._drop([account for (account,) in found])

    def _drop(self, accounts: list[str]) -> None:
        for account in accounts:
            self._file.execute("DELETE FROM accounts WHERE account = ?", (account,))
            self._file.execute("DELETE FROM digests WHERE account = ?", (account,))
            self._held.pop(account, None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        try:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {printable(error, 200)}") from error


def _open(path: Path, kind: str) -> sqlite3.Connection:
    """Return a file that no other process has open, with its tables and digests of `kind`."""
    make_folder(path.parent)
    try:
        path.touch(mode=0o600)
        file = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            file.execute(f"PRAGMA {setting}").fetchone()
        file.execute("BEGIN IMMEDIATE")
        (application,) = file.execute("PRAGMA application_id").fetchone()
        if not application and not file.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            for statement in _SCHEMA.split(";"):
                file.execute(statement)
            file.execute("INSERT INTO about VALUES (?)", (kind,))
            file.execute(f"PRAGMA application_id = {_APPLICATION}")
        elif application != _APPLICATION:
            file.close()
            raise OutputError(f"{path}: holds something else than a guard's store; name another")
        if file.execute("UPDATE about SET kind = ?1 WHERE kind <> ?1", (kind,)).rowcount:
            file.execute("DELETE FROM digests")
        file.execute("COMMIT")
    except sqlite3.OperationalError as error:
        busy = "locked" in str(error)
        reason = "another process has it open" if busy else printable(error, 200)
        raise OutputError(f"{path}: cannot be opened as a guard's store: {reason}") from error
    except (sqlite3.DatabaseError, OSError) as error:
        reason = printable(getattr(error, "strerror", None) or error, 200)
        raise OutputError(f"{path}: cannot be opened as a guard's store: {reason}") from error
    return file
