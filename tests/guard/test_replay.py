from __future__ import annotations

import contextlib
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.attacks import RandomSquares, evade
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.guard import (
    ANY,
    BlockedError,
    Calibration,
    Canary,
    Guard,
    Guarded,
    HashedWindows,
    Logged,
    NearestNeighbours,
    QueryLog,
    calibrate,
    replay,
)
from molehunt.images import load_images
from molehunt.networks import Queried, build_classifier
from molehunt.training import Recipe, train

DIGITS = load_images("digits", size=12)
MODEL = build_classifier("mlp", DIGITS.train, arguments={"hidden": [16]}, seed=0)
train(MODEL, DIGITS.train, Recipe(epochs=5, lr=0.05), seed=0)
MONITORS = calibrate(
    [NearestNeighbours(neighbours=5, window=100), HashedWindows(salt=1), Canary()],
    DIGITS.train.pixels(),
    DIGITS.train.labels,
    false_alarms=0.01,
)


@pytest.fixture(scope="module")
def log() -> QueryLog:
    """Return the queries of an attack that nothing stops."""
    logged = Logged(MODEL)
    attack = RandomSquares(epsilon=0.02, queries=60)
    evade(Queried(logged), DIGITS.test.take(torch.arange(3)), attack, batch_size=1)
    return logged.log()


def test_a_log_has_every_query_of_an_attack_and_no_other(log: QueryLog) -> None:
    logged = Logged(MODEL)
    target = Queried(logged)
    target.predict(DIGITS.test.pixels()[:7])
    target.judge(DIGITS.test.images)
    assert len(logged.log()) == target.queries == 7
    assert torch.equal(logged.log().images, DIGITS.test.images[:7])
    assert len(log) > 20


def test_a_log_survives_its_file(log: QueryLog, tmp_path: Path) -> None:
    log.save(tmp_path / "log.npz")
    again = QueryLog.read(tmp_path / "log.npz")
    assert torch.equal(again.images, log.images)
    assert torch.equal(again.labels, log.labels)


@pytest.mark.parametrize("accounts", [1, 3])
def test_a_replay_says_what_a_guard_sees(log: QueryLog, accounts: int) -> None:
    """The same queries go through a guard one by one, as a service has them."""
    guard = Guard(MONITORS.monitors)
    guarded = Guarded(MODEL, guard, accounts=accounts)
    found = {item.monitor: item for item in replay(log, MONITORS.monitors, [accounts])}
    first = found[ANY].first
    assert first is not None and first == min(item.first or first for item in found.values())
    pixels = log.images.float() / 255
    for number in range(first - 1):
        guarded(pixels[number : number + 1])
    assert not guarded.flagged
    with contextlib.suppress(BlockedError):  # no account is left to ask again
        guarded(pixels[first - 1 : first])
    assert min(guarded.flagged.values()) == first
    assert found[ANY].answered >= first - 1


def test_more_accounts_are_flagged_later_and_so_many_never(log: QueryLog) -> None:
    near = MONITORS.monitors[:1]
    firsts = [item.first for item in replay(log, near, [1, 2, 4, len(log)]) if item.monitor != ANY]
    numbers = [first for first in firsts if first is not None]
    assert numbers == sorted(numbers)
    assert numbers[0] > 5
    assert firsts[-1] is None
    (alone,) = [item for item in replay(log, near, [len(log)]) if item.monitor != ANY]
    assert (alone.flagged, alone.answered) == (0, len(log))


def test_a_calibration_survives_its_file_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    MONITORS.save(path)
    assert Calibration.read(path) == MONITORS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "monitors: Field required"),
        ('{"monitors": [{"kind": "oracle"}]}', "oracle"),
        ("[1", "Invalid JSON"),
    ],
)
def test_files_that_are_no_calibration_are_refused(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "guard.json"
    path.write_text(content)
    with pytest.raises(InvalidRequestError, match=message):
        Calibration.read(path)


def test_files_that_are_no_logs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.npz"
    for arrays, message in (
        ({"images": np.zeros((2, 1, 4, 4))}, "images, labels"),
        ({"images": np.zeros((2, 1, 4, 4)), "labels": np.zeros(2)}, "expected uint8"),
        (
            {"images": np.zeros((2, 1, 4, 4), "u1"), "labels": np.zeros(3, int)},
            r"integers of shape \[2\]",
        ),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InvalidRequestError, match=message):
            QueryLog.read(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UnreadableFileError, match="not a readable npz"):
        QueryLog.read(path)
    np.savez(path, images=np.array([object()]), labels=np.zeros(1, int))
    with pytest.raises(UnreadableFileError, match="never loaded"):
        QueryLog.read(path)


def test_numbers_of_accounts_below_one_are_refused(log: QueryLog) -> None:
    with pytest.raises(InvalidRequestError, match="expected 1 or more, got 0"):
        replay(log, MONITORS.monitors, [0])
