"""A store in Redis, for a server of several processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from molehunt.errors import InvalidRequestError, OutputError, mismatch, need_extra, printable
from molehunt.guard._monitor import Digests
from molehunt.guard._store import Standing, StoreError

_STANDING = ("queries", "alarms", "flagged_at", "flagged_by")
_NONE: Digests = np.zeros((0, 0), dtype=np.uint8)
_SECONDS = 2.0  # for an answer of Redis
# A script is one transaction.
# KEYS: the account's hash, ages of quiet and of flagged accounts, digests of each monitor.
# ARGV: prefixes of hashes and of digests, account, now, most accounts, seconds that all is kept,
# new queries, alarms, place of the first, its monitor; then for each monitor its name, the bytes
# of a row, the new bytes, the most bytes.
_RECORD = """
local hashes, digests, account, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local most, life, hash = tonumber(ARGV[5]), tonumber(ARGV[6]), KEYS[1]
local queries = redis.call('HINCRBY', hash, 'queries', ARGV[7])
redis.call('HINCRBY', hash, 'alarms', ARGV[8])
if ARGV[9] ~= '' and redis.call('HEXISTS', hash, 'flagged_at') == 0 then
  local flagged_at = queries - ARGV[7] + ARGV[9]
  redis.call('HSET', hash, 'flagged_at', flagged_at, 'flagged_by', ARGV[10])
end
for place = 4, #KEYS do
  local at = 4 * place - 5
  redis.call('HSET', hash, 'width:' .. ARGV[at], ARGV[at + 1])
  local length = redis.call('APPEND', KEYS[place], ARGV[at + 2])
  local bytes = tonumber(ARGV[at + 3])
  if length > bytes then
    redis.call('SET', KEYS[place], redis.call('GETRANGE', KEYS[place], -bytes, -1))
  end
  redis.call('EXPIRE', KEYS[place], life)
end
redis.call('EXPIRE', hash, life)
local flagged = redis.call('HEXISTS', hash, 'flagged_at')
redis.call('ZREM', KEYS[3 - flagged], account)
redis.call('ZADD', KEYS[2 + flagged], now, account)
for place = 2, 3 do
  redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', '(' .. (now - life))
end
local many = redis.call('ZCARD', KEYS[3])
if redis.call('ZCARD', KEYS[2]) + many > most then
  local gone = redis.call('ZPOPMIN', KEYS[many > most / 2 and 3 or 2])[1]
  for _, field in ipairs(redis.call('HKEYS', hashes .. gone)) do
    if string.sub(field, 1, 6) == 'width:' then
      redis.call('DEL', digests .. gone .. ':' .. string.sub(field, 7))
    end
  end
  redis.call('DEL', hashes .. gone)
end
return redis.call('HMGET', hash, 'queries', 'alarms', 'flagged_at', 'flagged_by')
"""


class RedisStore:
    """What is remembered of accounts, in Redis; several servers may share it.

    A `record` is one transaction. Each monitor's digests of an account are one string of bytes,
    cut to the window. How much a crash of Redis loses is Redis' setting: with ``appendfsync
    everysec`` a second.

    Parameters
    ----------
    url : str
        ``redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER]`` or ``rediss://…`` of one server; not a
        cluster.
    kind, accounts, forget_after
        As in `SqliteStore`.
    prefix : str
        Of all keys.

    Raises
    ------
    InvalidRequestError
        If the URL is none, or the extra ``guard`` is missing.
    OutputError
        If Redis does not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        kind: str = "",
        accounts: int = 10_000,
        forget_after: float = 30 * 86_400.0,
        prefix: str = "molehunt:guard:",
    ) -> None:
        redis = need_extra("guard", "redis", "a store in Redis")
        self._error: type[Exception] = redis.RedisError
        parts = urlsplit(url)
        # A password stands before the host.
        self._shown = printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
        self._most, self._life = accounts, max(1, int(forget_after))
        self._accounts = f"{prefix}account:"
        self._digests = f"{prefix}digests:{kind}:"
        self._ages = (f"{prefix}quiet", f"{prefix}flagged")
        try:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
            )
            self._redis.ping()
        except ValueError as error:
            allowed = "redis://HOST:PORT/NUMBER"
            raise InvalidRequestError(mismatch("store", allowed, repr(self._shown))) from error
        except self._error as error:
            reason = printable(error, 200)
            raise OutputError(f"{self._shown}: Redis does not answer: {reason}") from error
        self._record = self._redis.register_script(_RECORD)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def standing(self, account: str) -> Standing:
        """Return what is known of an account; see `Store`."""
        with self._answering():
            return _standing(self._redis.hmget(f"{self._accounts}{account}", _STANDING))

    def recall(self, account: str, most: Mapping[str, int]) -> dict[str, Digests]:
        """Return the last digests of an account; see `Store`."""
        if not most:
            return {}
        with self._answering(), self._redis.pipeline(transaction=True) as both:
            both.hmget(f"{self._accounts}{account}", [f"width:{monitor}" for monitor in most])
            both.mget([f"{self._digests}{account}:{monitor}" for monitor in most])
            widths, contents = both.execute()
        return {
            monitor: _rows(content, width)[-count:] if count else _NONE
            for (monitor, count), width, content in zip(most.items(), widths, contents, strict=True)
        }

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
        keys = [f"{self._accounts}{account}", *self._ages]
        place, monitor = first or ("", "")
        told: list[Any] = [self._accounts, self._digests, account, time.time(), self._most]
        told += [self._life, queries, alarms, place, monitor]
        for name, rows in digests.items():
            if len(rows):
                keys.append(f"{self._digests}{account}:{name}")
                told += [name, rows.shape[1], rows.tobytes(), most[name] * rows.shape[1]]
        with self._answering():
            return _standing(self._record(keys=keys, args=told))

    def forget(self, account: str) -> None:
        """Forget an account; see `Store`."""
        with self._answering():
            hashed = f"{self._accounts}{account}"
            fields = [field.decode() for field in self._redis.hkeys(hashed)]
            monitors = [name[len("width:") :] for name in fields if name.startswith("width:")]
            with self._redis.pipeline(transaction=True) as all_of_it:
                all_of_it.delete(hashed, *(f"{self._digests}{account}:{m}" for m in monitors))
                for ages in self._ages:
                    all_of_it.zrem(ages, account)
                all_of_it.execute()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise StoreError(f"{self._shown}: {printable(error, 200)}") from error


def _standing(found: list[Any]) -> Standing:
    """Return a standing from what Redis has of it."""
    queries, alarms, flagged_at, flagged_by = found
    if flagged_at is None:
        return Standing(int(queries or 0), int(alarms or 0))
    return Standing(int(queries), int(alarms), int(flagged_at), flagged_by.decode())


def _rows(content: bytes | None, width: bytes | None) -> Digests:
    """Return bytes as rows; those of another width were made by other monitors."""
    if not content or not width or len(content) % int(width):
        return _NONE
    return np.frombuffer(content, np.uint8).reshape(-1, int(width))
