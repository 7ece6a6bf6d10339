"""Defences of training sets, against real poison on real digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from molehunt.attacks import SvmPoisoning
from molehunt.defences import reject_negative_impact, relabel_by_neighbours, trim_losses
from molehunt.errors import InvalidRequestError

MACHINE = SVC(kernel="linear")
POISON = 3


@pytest.fixture(scope="module")
def poisoned() -> tuple[Any, Any, Any, Any]:
    """A training set of 80 clean points and then poison, and test points."""
    digits = load_digits()
    chosen = np.flatnonzero(np.isin(digits.target, (9, 8)))
    order = np.random.default_rng(0).permutation(chosen)
    points, labels = digits.data[order] / 16, np.where(digits.target[order] == 9, 1, -1)
    train, validation, test = slice(0, 80), slice(80, 160), slice(160, None)
    poison = SvmPoisoning(steps=40).run(
        points[train], labels[train], points[validation], labels[validation],
        starts=points[train][labels[train] == -1][:POISON], label=1,
    )  # fmt: skip
    return (
        np.vstack([points[train], poison.points]),
        np.append(labels[train], [1] * POISON),
        points[test],
        labels[test],
    )


def error(points: Any, labels: Any, test: Any, truth: Any) -> float:
    return float((SVC(kernel="linear").fit(points, labels).predict(test) != truth).mean())


def test_a_point_that_does_harm_is_rejected(poisoned: tuple[Any, Any, Any, Any]) -> None:
    points, labels, test, truth = poisoned
    points, labels = points[:81], labels[:81]
    kept = reject_negative_impact(
        MACHINE, points, labels, trials=2, generator=np.random.default_rng(0)
    )
    assert not kept[-1] and kept[:-1].mean() > 0.9
    before = error(points, labels, test, truth)
    assert error(points[kept], labels[kept], test, truth) < 0.7 * before
    assert not hasattr(MACHINE, "support_")  # only copies are trained


def test_points_that_fit_no_other_are_trimmed(poisoned: tuple[Any, Any, Any, Any]) -> None:
    points, labels, test, truth = poisoned
    kept, again = (
        trim_losses(MACHINE, points, labels, starts=5, generator=np.random.default_rng(0))
        for _ in range(2)
    )
    assert np.array_equal(kept, again) and kept.sum() == len(kept) - round(0.1 * len(kept))
    assert not kept[-POISON:].any()
    before = error(points, labels, test, truth)
    assert error(points[kept], labels[kept], test, truth) < 0.7 * before
    assert not hasattr(MACHINE, "support_")


def test_poison_gets_its_neighbours_label(poisoned: tuple[Any, Any, Any, Any]) -> None:
    points, labels, test, truth = poisoned
    changed = relabel_by_neighbours(points, labels)
    assert (changed[-POISON:] == -1).any() and (changed == labels)[:-POISON].mean() > 0.9
    assert error(points, changed, test, truth) < 0.7 * error(points, labels, test, truth)


def test_labels_change_where_enough_neighbours_agree_and_no_tie_is() -> None:
    points = np.arange(6.0)[:, None]
    labels = np.array(["a", "a", "b", "a", "b", "b"])
    assert relabel_by_neighbours(points, labels, neighbours=2).tolist() == [
        "a", "a", "a", "b", "b", "b",
    ]  # fmt: skip
    # The two nearest of the second point disagree: a tie leaves it.
    assert relabel_by_neighbours(points, labels, neighbours=2)[1] == "a"
    strict = relabel_by_neighbours(points, labels, neighbours=3, agreement=1.0)
    assert strict.tolist() == ["a", "a", "a", "a", "b", "b"]
    assert relabel_by_neighbours(points, labels, neighbours=4, agreement=0.9).tolist() == [*labels]


def test_trimming_keeps_the_share_that_it_says() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 30)
    points = labels[:, None] + 0.2 * rng.normal(size=(60, 2))
    for share in (0.1, 0.3):
        kept = trim_losses(MACHINE, points, labels, share=share, starts=2, generator=rng)
        assert kept.sum() == 60 - round(share * 60)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, y, g: reject_negative_impact(MACHINE, p, y, base=30, generator=g), "RONI"),
        (lambda p, y, g: trim_losses(MACHINE, p, y, share=1.0, generator=g), "trimming"),
        (lambda p, y, g: trim_losses(MACHINE, p, np.arange(40), generator=g), "two classes, got"),
        (lambda p, y, g: relabel_by_neighbours(p, y, neighbours=40), "1 to 39 neighbours"),
        (lambda p, y, g: relabel_by_neighbours(p, y[:3]), r"shapes \[N, D\] and \[N\]"),
        (lambda p, y, g: relabel_by_neighbours(p * np.nan, y), "finite numbers, got 40 others"),
        (lambda p, y, g: relabel_by_neighbours(p, 0 * y), "two classes or more"),
    ],
)
def test_impossible_requests_are_refused(call: Any, message: str) -> None:
    points = np.random.default_rng(0).random((40, 2))
    with pytest.raises(InvalidRequestError, match=message):
        call(points, np.tile([0, 1], 20), np.random.default_rng(0))
