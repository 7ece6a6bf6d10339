"""The bound on what poison does holds: against its own attack, and against others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from molehunt.arrays import Floats
from molehunt.defences import SphereAndSlab, bound_poisoned_loss
from molehunt.errors import InvalidRequestError


@pytest.fixture
def clouds() -> tuple[Floats, Floats]:
    """Two clouds of points that overlap, with a last column of ones."""
    generator = np.random.default_rng(0)
    signs = np.repeat([-1.0, 1.0], 150)
    points = generator.normal(size=(300, 5)) + 0.8 * signs[:, None]
    return np.hstack([points, np.ones((300, 1))]), signs


def loss(weights: Floats, points: Floats, signs: Floats) -> float:
    return float(np.maximum(1 - signs * (points @ weights), 0).mean())


def train(points: Floats, signs: Floats, norm: float) -> Floats:
    """Return the least loss's weights among those of a path of penalties, cut to the norm."""
    best = np.zeros(points.shape[1])
    for c in np.logspace(-5, 0, 21):
        machine = LinearSVC(loss="hinge", C=c, fit_intercept=False, max_iter=50_000, random_state=0)
        weights = machine.fit(points, signs).coef_[0]
        weights = weights * min(1.0, norm / np.linalg.norm(weights))
        if loss(weights, points, signs) < loss(best, points, signs):
            best = weights
    return best


def test_no_feasible_point_fits_worse_than_the_worst(clouds: tuple[Floats, Floats]) -> None:
    points, signs = clouds
    feasible = SphereAndSlab.fit(points, signs, keep=0.8)
    generator = np.random.default_rng(1)
    for _ in range(20):
        weights = generator.normal(size=6)
        worst = feasible.worst(weights)
        assert feasible.passes(worst, np.array([-1.0, 1.0])).all()
        for row, sign in enumerate((-1.0, 1.0)):
            away = generator.normal(size=(5000, 6))
            away *= feasible.radii[row] / np.linalg.norm(away, axis=1)[:, None]
            others = feasible.means[row] + away * generator.random((5000, 1)) ** 0.1
            others = others[feasible.passes(others, np.full(5000, sign))]
            assert len(others) > 100
            assert sign * (worst[row] @ weights) <= (sign * (others @ weights)).min() + 1e-9


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_bound_holds_and_its_attack_comes_near(
    clouds: tuple[Floats, Floats], share: float
) -> None:
    points, signs = clouds
    feasible = SphereAndSlab.fit(points, signs, keep=0.9)
    passed = feasible.passes(points, signs)
    points, signs = points[passed], signs[passed]
    generator = np.random.default_rng(0)
    found = bound_poisoned_loss(points, signs, feasible, share=share, generator=generator)
    assert feasible.passes(found.points, found.signs).all()
    assert len(found.points) == round(share * len(points))
    weights = train(np.vstack([points, found.points]), np.hstack([signs, found.signs]), 1.0)
    clean, poison = loss(weights, points, signs), loss(weights, found.points, found.signs)
    assert loss(train(points, signs, 1.0), points, signs) < clean <= found.bound
    # What the learner makes least, the losses of both: the attack is nearly the worst for it.
    assert 0.8 * found.bound < clean + share * poison <= found.bound + 0.01


def test_without_poison_it_is_the_least_loss(clouds: tuple[Floats, Floats]) -> None:
    points, signs = clouds
    feasible = SphereAndSlab.fit(points, signs)
    found = bound_poisoned_loss(
        points, signs, feasible, share=0.0, generator=np.random.default_rng(0)
    )
    assert len(found.points) == 0
    assert found.bound == pytest.approx(loss(train(points, signs, 1.0), points, signs), abs=0.01)


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"share": -0.1}, "share"), ({"share": 0.1, "norm": 0.0}, "norm"), ({"steps": 0}, "steps")],
)
def test_settings_out_of_range_are_refused(
    clouds: tuple[Floats, Floats], setting: dict[str, float], said: str
) -> None:
    points, signs = clouds
    feasible = SphereAndSlab.fit(points, signs)
    settings = {"share": 0.1, "generator": np.random.default_rng(0), **setting}
    with pytest.raises(InvalidRequestError, match=said):
        bound_poisoned_loss(points, signs, feasible, **settings)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="signs"):
        SphereAndSlab.fit(points, signs + 1)
