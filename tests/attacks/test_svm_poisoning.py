"""Poison for support vector machines, on real digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from molehunt.attacks import SvmPoisoning
from molehunt.attacks._svm_poisoning import _Machine
from molehunt.errors import InvalidRequestError

KERNELS = [SvmPoisoning(), SvmPoisoning(kernel="rbf", gamma=0.1, C=5.0)]


@pytest.fixture(scope="module")
def halves() -> list[tuple[Any, Any]]:
    """Nines against eights: training, validation and test points with their labels."""
    digits = load_digits()
    chosen = np.flatnonzero(np.isin(digits.target, (8, 9)))
    order = np.random.default_rng(0).permutation(chosen)
    points, labels = digits.data[order] / 16, np.where(digits.target[order] == 9, 1, -1)
    cuts = slice(0, 50), slice(50, 150), slice(150, None)
    return [(points[cut], labels[cut]) for cut in cuts]


def starts_of(train: tuple[Any, Any], count: int) -> Any:
    return train[0][train[1] == -1][:count]


@pytest.mark.parametrize(
    ("attack", "free"),
    [
        (SvmPoisoning(C=20.0), True),
        (SvmPoisoning(), False),
        (SvmPoisoning(kernel="rbf", gamma=0.3, C=20.0), True),
        (SvmPoisoning(kernel="rbf", gamma=0.3), False),
    ],
)
def test_the_gradient_is_that_of_the_retrained_machine(
    halves: list[tuple[Any, Any]], attack: SvmPoisoning, free: bool
) -> None:
    """Central differences, each side with a machine of its own."""
    train, validation, _ = halves
    points = np.vstack([train[0], starts_of(train, 1)])
    machine = _Machine(attack, points, np.append(train[1], 1), *validation)
    for _ in range(2):
        slope = machine.slope()
        machine.move(np.clip(machine.points[-1] + 0.5 * slope / np.linalg.norm(slope), 0, 1))
    here, slope = machine.points[-1].copy(), machine.slope()
    # On the margin, or at the bound: two cases of the paper's system.
    assert (0 < machine.multipliers[-1] < attack.C) == free
    tiny, rng = 1e-3, np.random.default_rng(1)
    for direction in (slope / np.linalg.norm(slope), *rng.normal(size=(4, len(here)))):
        sides = []
        for sign in (1, -1):
            machine.move(here + sign * tiny * direction)
            sides.append(machine.loss)
        assert (sides[0] - sides[1]) / (2 * tiny) == pytest.approx(
            slope @ direction, rel=0.01, abs=2e-4
        )


@pytest.mark.parametrize("attack", KERNELS, ids=lambda attack: attack.kernel)
def test_points_of_8_bit_raise_the_error_of_a_plain_machine(
    halves: list[tuple[Any, Any]], attack: SvmPoisoning
) -> None:
    train, validation, test = halves
    starts = starts_of(train, 3)
    poison = attack.run(*train, *validation, starts=starts, label=1)
    assert list(poison.losses) == sorted(poison.losses)
    stored = np.round(poison.points * 255).astype(np.uint8)
    np.testing.assert_allclose(stored / 255, poison.points, atol=1e-12)

    def error(extra: Any) -> float:
        victim = SVC(kernel=attack.kernel, C=attack.C, gamma=attack.gamma or "scale")
        victim.fit(np.vstack([train[0], extra]), np.append(train[1], [1] * len(extra)))
        return float((victim.predict(test[0]) != test[1]).mean())

    assert error(stored / 255) > error(starts) + 0.03
    # The same points again: nothing is drawn.
    again = attack.run(*train, *validation, starts=starts, label=1)
    assert np.array_equal(again.points, poison.points)


def test_fewer_points_are_the_beginning_of_more(halves: list[tuple[Any, Any]]) -> None:
    train, validation, _ = halves
    attack = SvmPoisoning(steps=5)
    one, two = (
        attack.run(*train, *validation, starts=starts_of(train, n), label=1) for n in (1, 2)
    )
    assert np.array_equal(one.points[0], two.points[0])
    assert two.losses[:2] == one.losses and two.fits > one.fits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": "poly"}, "linear or rbf"),
        ({"kernel": "rbf"}, "gamma"),
        ({"C": 0}, "`C`: expected a number over 0, got 0"),
        ({"steps": 0}, "`steps`"),
        ({"step": 0.001}, "last_step <= step"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        SvmPoisoning(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.full((4, 2), 2.0)}, r"training points: expected numbers in \[0, 1\]"),
        ({"points": np.full((4, 2), np.nan)}, "training points"),
        ({"validation": np.zeros((4, 3))}, r"validation points: expected shape \[N, 2\]"),
        ({"starts": np.zeros((0, 2))}, "starts"),
        ({"labels": np.array([0, 1, 0, 1])}, "training labels: expected -1 and 1, both, got 0, 1"),
        ({"labels": np.array([1, 1, 1, 1])}, "both, got 1"),
        ({"validation_labels": np.array([1, -1])}, "one for each of 4 points"),
        ({"label": 0}, "-1 or 1"),
    ],
)
def test_points_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    labels = np.array([-1, 1, -1, 1])
    given: dict[str, Any] = {
        "points": np.zeros((4, 2)),
        "labels": labels,
        "validation": np.zeros((4, 2)),
        "validation_labels": labels,
        "starts": np.zeros((1, 2)),
        "label": 1,
    }
    with pytest.raises(InvalidRequestError, match=message):
        SvmPoisoning().run(**{**given, **changes})
