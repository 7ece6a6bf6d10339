from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError
from molehunt.guard import Canary, HashedWindows, Monitor, NearestNeighbours, Prada
from molehunt.images import load_images

DIGITS = load_images("digits", size=16)
HONEST = DIGITS.train.pixels()
LABELS = DIGITS.train.labels
MONITORS: list[Monitor] = [
    NearestNeighbours(neighbours=5, window=40),
    HashedWindows(salt=3, window_of_queries=40),
    Prada(window=60, least_distances=20),
    Canary(count=3, window=20),
]
each = pytest.mark.parametrize("monitor", MONITORS, ids=lambda monitor: monitor.kind)


def noisy(image: Tensor, count: int, size: float) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    noise = torch.randn(count, *image.shape, generator=draw)
    return (image + size * noise).clamp(0, 1)


def alarms(monitor: Monitor, images: Tensor, labels: Tensor) -> list[bool]:
    rows = monitor.digest(images, labels)
    return [alarm is not None for alarm in monitor.judge(rows[:0], rows)]


@each
@pytest.mark.parametrize("sizes", [[1] * 90, [7, 60, 23], [41, 49]])
def test_how_queries_come_in_batches_changes_nothing(monitor: Monitor, sizes: list[int]) -> None:
    rows = monitor.digest(HONEST[:90], LABELS[:90])
    whole = monitor.scores(rows[:0], rows)
    parts, end = [], 0
    for size in sizes:
        parts.append(monitor.scores(rows[:end], rows[end : end + size]))
        end += size
    assert np.allclose(np.concatenate(parts), whole, atol=1e-5)
    assert np.isfinite(whole).any()


@each
def test_no_alarm_is_earlier_than_a_monitor_says(monitor: Monitor) -> None:
    """Whatever the threshold and the images: that is the law by which accounts are bought."""
    at_once = monitor.model_copy(update={"threshold": -1e9})
    same = HONEST[:1].repeat(monitor.earliest + 1, 1, 1, 1)
    assert alarms(at_once, same, LABELS[:1].repeat(len(same))).index(True) >= monitor.earliest - 1


@each
def test_a_digest_is_bytes_and_says_nothing_of_other_queries(monitor: Monitor) -> None:
    rows = monitor.digest(HONEST[:10], LABELS[:10])
    assert rows.dtype == np.uint8
    assert rows.ndim == 2
    assert np.array_equal(rows[3:4], monitor.digest(HONEST[3:4], LABELS[3:4]))


@each
def test_honest_queries_pass_as_often_as_was_asked_for(monitor: Monitor) -> None:
    calibrated = monitor.calibrate(HONEST[:700], LABELS[:700], false_alarms=0.01)
    assert np.mean(alarms(calibrated, HONEST[:700], LABELS[:700])) <= 0.01
    # Windows overlap, so that alarms of new images come in runs.
    assert np.mean(alarms(calibrated, HONEST[700:], LABELS[700:])) <= 0.05


def test_a_walk_around_one_image_has_near_neighbours() -> None:
    monitor = NearestNeighbours(neighbours=5, window=40)
    monitor = monitor.calibrate(HONEST[:700], LABELS[:700], false_alarms=0.01)
    walk = noisy(HONEST[0], 30, 0.02)
    found = alarms(monitor, walk, LABELS[:30])
    assert found.index(True) == 5  # the law: not before five others are there
    assert all(found[5:])


def test_small_changes_keep_most_hashes_for_who_does_not_know_the_salt() -> None:
    monitor = HashedWindows(salt=3).calibrate(HONEST, LABELS, false_alarms=0.01)
    changed = HONEST[:1].repeat(2, 1, 1, 1)
    changed[1, :, 4:6, 4:6] = 1 - changed[1, :, 4:6, 4:6]
    assert alarms(monitor, changed, LABELS[:2]) == [False, True]
    other = HashedWindows(salt=4).digest(HONEST[:1], LABELS[:1]).view(np.uint32)
    assert not np.isin(other, monitor.digest(HONEST[:1], LABELS[:1]).view(np.uint32)).any()


def test_synthetic_queries_have_distances_that_are_not_normal() -> None:
    monitor = Prada(window=60, least_distances=20)
    monitor = monitor.calibrate(HONEST[:700], LABELS[:700], false_alarms=0.01)
    # A theft asks about images and steps away from them, as Papernot's does.
    steps = (HONEST[700:730] + 0.1 * HONEST[700:730].sign()).clamp(0, 1)
    pairs = torch.stack([HONEST[700:730], steps], 1).flatten(0, 1)
    assert any(alarms(monitor, pairs, LABELS[700:730].repeat_interleave(2)))


def test_jumps_that_leave_no_neighbours_are_strange_one_by_one() -> None:
    draw = torch.Generator().manual_seed(0)
    jumps = torch.where(torch.rand(10, 1, 16, 16, generator=draw) < 0.3, 1.0, HONEST[:10])
    monitor = Canary(count=3, window=20).calibrate(HONEST, LABELS, false_alarms=0.01)
    assert alarms(monitor, jumps, LABELS[:10]) == [False] * 2 + [True] * 8
    assert not any(alarms(monitor, jumps[:2], LABELS[:2]))


def test_what_cannot_be_calibrated_is_refused() -> None:
    monitor = NearestNeighbours()
    with pytest.raises(InvalidRequestError, match="1001 or more for a rate"):
        monitor.calibrate(HONEST[:50], LABELS[:50], false_alarms=0.01)
    with pytest.raises(InvalidRequestError, match="false_alarms: expected 0 to 1, got 0"):
        monitor.calibrate(HONEST, LABELS, false_alarms=0)
    with pytest.raises(InvalidRequestError, match="neighbours: expected a threshold"):
        alarms(monitor, HONEST[:5], LABELS[:5])
