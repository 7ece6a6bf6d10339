"""Stores hold the same, whatever they are made of, and what they may forget."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from molehunt.errors import InvalidRequestError, OutputError
from molehunt.guard import (
    HashedWindows,
    MemoryStore,
    NearestNeighbours,
    RedisStore,
    SqliteStore,
    Standing,
    Store,
    StoreError,
    open_store,
)
from tests.guard.stores import run_redis

WIDTHS = {"prada": 3, "canary": 1}
MOST = {"prada": 5, "canary": 2}
Make = Callable[..., Store]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what opens the same store again and again."""
    if request.param == "memory":
        one: dict[str, MemoryStore] = {}
        return lambda **settings: one.setdefault("store", MemoryStore(**settings))
    if request.param == "sqlite":
        return lambda **settings: SqliteStore(tmp_path / "guard.sqlite", **settings)
    url, prefix = request.getfixturevalue("redis_url"), f"{tmp_path}:"
    return lambda **settings: RedisStore(url, prefix=prefix, **settings)


def close(store: Store) -> None:
    if not isinstance(store, MemoryStore):
        store.close()  # type: ignore[attr-defined]


def rows(draw: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    return {
        name: draw.integers(256, size=(count, width), dtype=np.uint8)
        for name, width in WIDTHS.items()
    }


def ask(store: Store, account: str, count: int = 1, *, flagged: bool = False) -> Standing:
    new = {name: np.zeros((count, width), dtype=np.uint8) for name, width in WIDTHS.items()}
    first = (count, "prada") if flagged else None
    return store.record(account, new, MOST, queries=count, alarms=int(flagged), first=first)


def test_a_store_holds_what_it_was_given_and_is_opened_again(make: Make) -> None:
    draw = np.random.default_rng(0)
    store, said = make(), {}
    true: dict[str, list[np.ndarray]] = {"ann": [], "bén of the Ω": []}
    for turn in range(24):
        account = [*true][int(draw.integers(2))]
        count, first = int(draw.integers(1, 8)), (2, "prada") if turn == 15 else None
        new = rows(draw, count)
        said[account] = store.record(
            account, new, MOST, queries=count, alarms=int(first is not None), first=first
        )
        true[account].append(new["prada"])
        if turn % 8 == 7:
            close(store)
            store = make()
        found = store.recall(account, MOST)
        assert (found["prada"] == np.concatenate(true[account])[-5:]).all()
        assert found["canary"].shape[0] <= 2 and found["canary"].dtype == np.uint8
        assert store.standing(account) == said[account]
        assert store.recall(account, {"prada": 1})["prada"].shape == (1, 3)
    flagged = [standing for standing in said.values() if standing.is_flagged]
    assert len(flagged) == 1 and flagged[0].flagged_by == "prada"
    assert {name: one.queries for name, one in said.items()} == {
        name: sum(map(len, parts)) for name, parts in true.items()
    }
    store.forget("ann")
    assert store.standing("ann") == Standing()
    assert store.recall("ann", MOST)["prada"].shape == (0, 0)
    assert store.standing("bén of the Ω") == said["bén of the Ω"]
    close(store)


def test_what_no_one_asked_is_nothing(make: Make) -> None:
    store = make()
    assert store.standing("nobody") == Standing()
    assert store.recall("nobody", MOST)["canary"].shape == (0, 0)
    none = {name: np.zeros((0, width), dtype=np.uint8) for name, width in WIDTHS.items()}
    standing = store.record("ann", none, MOST, queries=1, alarms=1, first=(1, "prada"))
    assert standing == Standing(1, 1, 1, "prada")
    close(store)


def test_accounts_are_bounded_and_flagged_ones_are_kept_up_to_half(make: Make) -> None:
    store = make(accounts=4)
    for name in ("f1", "f2"):
        ask(store, name, flagged=True)
    for name in ("a", "b", "c", "a", "d"):
        ask(store, name)
    known = {name for name in ("f1", "f2", "a", "b", "c", "d") if store.standing(name).queries}
    assert known == {"f1", "f2", "a", "d"}
    ask(store, "a", flagged=True)
    ask(store, "e")
    known = {name for name in ("f1", "f2", "a", "d", "e") if store.standing(name).queries}
    assert known == {"f2", "a", "d", "e"}
    assert store.recall("f1", MOST)["prada"].shape == (0, 0)
    close(store)


def test_quiet_accounts_are_forgotten(tmp_path: Path, redis_url: str) -> None:
    path = tmp_path / "guard.sqlite"
    sqlite = SqliteStore(path, forget_after=0.05)
    redis = RedisStore(redis_url, prefix=f"{tmp_path}:", forget_after=1)
    for store in (sqlite, redis):
        assert ask(store, "ann", flagged=True).is_flagged
    sqlite.close()
    time.sleep(1.1)
    assert redis.standing("ann") == Standing()
    assert SqliteStore(path, forget_after=0.05).standing("ann") == Standing()


def test_digests_of_other_monitors_are_not_mixed_with_ours(tmp_path: Path, redis_url: str) -> None:
    one, other = [HashedWindows(salt=1, threshold=24)], [HashedWindows(salt=2, threshold=24)]
    same = [HashedWindows(salt=1, threshold=30)]
    for text in (f"sqlite:{tmp_path}/guard.sqlite", redis_url):
        store = open_store(text, one)
        ask(store, "ann", 2, flagged=True)
        close(store)
        store = open_store(text, same)
        assert store.recall("ann", MOST)["prada"].shape == (2, 3)
        close(store)
        store = open_store(text, other)
        assert store.recall("ann", MOST)["prada"].shape == (0, 0)
        assert store.standing("ann").flagged_at == 2
        close(store)


def test_a_file_of_one_process_is_not_opened_twice(tmp_path: Path) -> None:
    path = tmp_path / "guard.sqlite"
    store = SqliteStore(path)
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(OutputError, match="another process has it open"):
        SqliteStore(path)
    store.close()
    SqliteStore(path).close()


def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("notes " * 1000)
    with pytest.raises(OutputError, match=r"notes\.txt: cannot be opened"):
        SqliteStore(text)
    assert text.read_text() == "notes " * 1000
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(OutputError, match="something else"):
        SqliteStore(tmp_path / "other.sqlite")
    with pytest.raises(InvalidRequestError, match="store: expected memory, sqlite:PATH"):
        open_store("postgres://ann:secret@host/db", [NearestNeighbours()])


def test_a_redis_that_is_not_there_is_one_line_without_a_password(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    with pytest.raises(OutputError, match="Redis does not answer") as caught:
        open_store("redis://:hunter2@127.0.0.1:1/0", [])
    assert "hunter2" not in str(caught.value)


def test_a_redis_that_goes_away_is_a_store_error(tmp_path: Path) -> None:
    with run_redis(tmp_path) as url:
        store = RedisStore(url)
        ask(store, "ann")
    with pytest.raises(StoreError):
        store.standing("ann")
