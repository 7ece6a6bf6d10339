from __future__ import annotations

import pytest
import torch

from molehunt.attacks import Norm, SecurityCurve, curve_of, evade, new_attack, sweep
from molehunt.errors import InvalidRequestError
from molehunt.images import load_images
from molehunt.networks import Classifier, Queried, Reveals, build_classifier
from molehunt.training import Recipe, train

DIGITS = load_images("digits", size=12)
TEST = DIGITS.test.take(torch.arange(50))


@pytest.fixture(scope="module")
def target() -> Queried:
    vgg = {"width": 4, "stages": [1, 1]}
    model: Classifier = build_classifier("vgg", DIGITS.train, arguments=vgg, seed=0)
    train(model, DIGITS.train, Recipe(epochs=2), seed=0)
    return Queried(model, reveals=Reveals.WEIGHTS)


@pytest.mark.parametrize("norm", Norm)
def test_accuracy_falls_from_the_clean_one_and_never_rises(norm: Norm, target: Queried) -> None:
    result = evade(target, TEST, new_attack("fmn", norm=norm, steps=40))
    curve = curve_of([result], norm)
    assert curve.accuracy(0) == result.clean_accuracy
    assert curve.accuracy(1e6) == result.robust_accuracy
    radii, shares = curve.steps()
    assert radii[0] == 0 and len(radii) > 5
    assert radii == sorted(radii) and shares == sorted(shares, reverse=True)
    # Recomputed from the saved images, each fooling one lies at or below the curve's radius.
    sizes = norm.of((result.images.float() - TEST.images.float()) / 255)[result.success]
    assert curve.accuracy(float(sizes.median()))[0] <= 0.6 * result.clean_accuracy[0]
    assert float(sizes.min()) <= curve.median <= float(sizes.max())


def test_a_sweep_never_rises_and_skips_what_is_fooled(target: Queried) -> None:
    epsilons = [0.3, 0.02, 0.1, 0.2]
    seen: list[float] = []

    def attack_of(epsilon: float):
        seen.append(epsilon)
        return new_attack("pgd", epsilon=epsilon, steps=10)

    before = target.queries
    curve = sweep(target, TEST, attack_of, epsilons)
    cost = target.queries - before
    assert seen == sorted(epsilons)
    shares = [curve.accuracy(epsilon)[0] for epsilon in (0, *seen)]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1] + 0.5
    each = [evade(target, TEST, attack_of(epsilon)) for epsilon in sorted(epsilons)]
    assert cost < sum(result.queries for result in each)
    for epsilon, result in zip(sorted(epsilons), each, strict=True):
        assert curve.accuracy(epsilon)[0] <= result.robust_accuracy[0] + 0.04


def test_the_best_of_several_attacks_is_below_each(target: Queried) -> None:
    results = [
        evade(target, TEST, new_attack("ddn", steps=30)),
        evade(target, TEST, new_attack("pgd", epsilon=0.1, steps=10)),
    ]
    both = curve_of(results, Norm.LINF)
    for result in results:
        assert bool((both.sizes <= curve_of([result], Norm.LINF).sizes).all())


def test_results_that_do_not_belong_together_are_refused(target: Queried) -> None:
    few = TEST.take(torch.arange(10))
    attack = new_attack("pgd", epsilon=0.1, steps=2)
    plain, other = (evade(target, part, attack) for part in (few, TEST))
    aimed = evade(target, few, attack, targets=torch.full((10,), 3))
    for results in ([], [plain, other], [aimed]):
        with pytest.raises(InvalidRequestError, match="untargeted attacks on the same images"):
            curve_of(results, Norm.L2)
    with pytest.raises(InvalidRequestError, match="one norm"):
        sweep(target, few, lambda epsilon: attack, [])


def test_a_curve_of_nothing_right_has_no_median() -> None:
    assert torch.tensor(SecurityCurve(Norm.L2, torch.zeros(3)).median).isnan()
    assert SecurityCurve(Norm.L2, torch.tensor([1.0, torch.inf, torch.inf])).median == torch.inf
