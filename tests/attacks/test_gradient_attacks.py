"""Gradient attacks, what helps them where gradients are hidden, and the signs of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.attacks import (
    Evaded,
    EvasionAttack,
    Loss,
    Norm,
    ProjectedGradient,
    RandomPoints,
    RandomSquares,
    Robustness,
    Transferred,
    WarningSigns,
    approximate_backward,
    evade,
    find_warning_signs,
)
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import load_images
from molehunt.networks import BudgetSpentError, Classifier, Queried, Reveals, build_classifier
from molehunt.training import Batch, Objective, Recipe, train

DIGITS = load_images("digits", size=12)
TEST = DIGITS.test.take(torch.arange(70))
EPSILON = 0.1
ATTACK = ProjectedGradient(epsilon=EPSILON, steps=10)


class Stairs(nn.Module):
    """Sixteen levels of grey, and the gradient of that: nothing."""

    def forward(self, pixels: Tensor) -> Tensor:
        return (15 * pixels).round() / 15

    def approximation(self, pixels: Tensor) -> Tensor:
        return pixels


class Behind(Classifier):
    """A classifier with something before it and after it."""

    def __init__(
        self,
        model: Classifier,
        before: nn.Module | None = None,
        after: Callable[[Tensor], Tensor] = lambda logits: logits,
    ) -> None:
        super().__init__(model, model.card)
        self.before, self.after = before or nn.Identity(), after

    def levels(self, images: Tensor, depth: int) -> tuple[Tensor, ...]:
        return (self.after(self.network(self.before(images))),)


class FastAdversarial:
    """One step from a random start (Wong, Rice and Kolter, 2020)."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        change = EPSILON * (2 * torch.rand(batch.pixels.shape, generator=self.generator) - 1)
        change.requires_grad_()
        loss = functional.cross_entropy(model(batch.pixels + change), batch.labels)
        (gradient,) = torch.autograd.grad(loss, change)
        change = (change.detach() + 1.25 * EPSILON * gradient.sign()).clamp(-EPSILON, EPSILON)
        return functional.cross_entropy(model((batch.pixels + change).clamp(0, 1)), batch.labels)


def _trained(seed: int, epochs: int, objective: Objective | None = None) -> Classifier:
    vgg = {"width": 8, "stages": [1, 1]}
    model = build_classifier("vgg", DIGITS.train, arguments=vgg, seed=seed)
    recipe = Recipe(epochs=epochs, batch_size=64, precision="float32")
    train(model, DIGITS.train, recipe, seed=seed, objective=objective)
    return model.freeze()


@pytest.fixture(scope="module")
def plain() -> Classifier:
    return _trained(0, 3)


@pytest.fixture(scope="module")
def other() -> Classifier:
    return _trained(1, 2)


@pytest.fixture(scope="module")
def hardened() -> Classifier:
    return _trained(0, 5, FastAdversarial())


def _white(model: Classifier) -> Queried:
    return Queried(model, reveals=Reveals.WEIGHTS)


def _left(evaded: Evaded) -> float:
    return evaded.robust_accuracy[0]


def _signs(model: Classifier, attack: ProjectedGradient, other: Classifier) -> WarningSigns:
    return find_warning_signs(_white(model), TEST, attack, substitute=other, queries=80)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_many_steps_beat_one_and_random_points_in_the_same_ball(
    plain: Classifier, norm: Norm
) -> None:
    epsilon = EPSILON if norm is Norm.LINF else 1.2
    attack = ProjectedGradient(epsilon=epsilon, norm=norm, steps=12)
    one = replace(attack, steps=1, step_size=epsilon, random_start=False)
    attacks: list[EvasionAttack] = [
        attack,
        one,
        RandomSquares(epsilon, norm, 60),
        RandomPoints(epsilon, norm, 60),
    ]
    found = [evade(_white(plain), TEST, each) for each in attacks]
    many, step, squares, points = map(_left, found)
    assert many < step - 0.05
    assert many < squares < points - 0.05
    assert all(float(each.sizes(norm).max()) <= epsilon + 1e-6 for each in found)
    assert found[0].queries == 13 * int(found[0].attacked.sum())
    again = evade(_white(plain), TEST, attack)
    assert torch.equal(again.images, found[0].images)


def test_images_are_turned_to_a_target(plain: Classifier) -> None:
    targets = (TEST.labels + 1) % 10
    for loss in Loss:
        attack = ProjectedGradient(epsilon=0.3, steps=20, loss=loss)
        assert evade(_white(plain), TEST, attack, targets=targets).success_rate[0] > 0.8


def test_an_approximation_brings_back_the_gradient_that_stairs_hide(plain: Classifier) -> None:
    stairs = Behind(plain, Stairs())
    blind = evade(_white(stairs), TEST, ATTACK)
    own = evade(_white(stairs), TEST, replace(ATTACK, bpda=True))
    named = {"before": lambda pixels: pixels}
    given = evade(_white(stairs), TEST, replace(ATTACK, bpda=named))
    assert _left(blind) > 0.8
    assert _left(own) < 0.2
    assert torch.equal(own.images, given.images)
    pixels = TEST.pixels()
    with approximate_backward(stairs) as names:
        inside = stairs(pixels)
    assert names == ["before"]
    assert torch.equal(inside, stairs(pixels))
    assert not stairs.before._forward_hooks


def test_what_cannot_be_approximated_is_refused(plain: Classifier) -> None:
    stairs = Behind(plain, Stairs())
    for given, said in [
        ({"nothing": lambda pixels: pixels}, "module to approximate"),
        ({"before": lambda pixels: pixels[:1]}, "approximation of before: expected shape"),
    ]:
        with pytest.raises(UnsuitableSubjectError, match=said):
            evade(_white(stairs), TEST, replace(ATTACK, bpda=given))
        assert not stairs.before._forward_hooks


def test_the_margin_climbs_where_the_cross_entropy_is_flat(plain: Classifier) -> None:
    flat = Behind(plain, after=lambda logits: 1e4 * logits)
    assert _left(evade(_white(flat), TEST, ATTACK)) > 0.8
    assert _left(evade(_white(flat), TEST, replace(ATTACK, loss=Loss.MARGIN))) < 0.2


def test_a_mean_over_draws_finds_the_way_through_noise(plain: Classifier) -> None:
    def noisy(seed: int) -> Classifier:
        generator = torch.Generator().manual_seed(seed)

        class Noise(nn.Module):
            def forward(self, pixels: Tensor) -> Tensor:
                return pixels * (torch.rand(pixels.shape, generator=generator) > 0.5)

        return Behind(plain, Noise())

    small = replace(ATTACK, epsilon=0.06)
    one = evade(_white(noisy(0)), TEST, small)
    many = evade(_white(noisy(0)), TEST, replace(small, draws=8))
    assert many.queries == 8 * 11 * int(many.attacked.sum())
    # Which images are right at all differs from draw to draw.
    assert many.success_rate[0] > one.success_rate[0] + 0.05


def test_images_of_another_model_cost_no_query(plain: Classifier, other: Classifier) -> None:
    target = Queried(plain, reveals=Reveals.LABELS)
    moved = evade(target, TEST, Transferred(replace(ATTACK, epsilon=0.2), other))
    assert moved.queries == target.queries == 0
    assert moved.success_rate[0] > 0.3


@pytest.mark.parametrize("model", ["plain", "hardened", "stairs"])
def test_a_model_gets_the_right_word(
    model: str, plain: Classifier, hardened: Classifier, other: Classifier
) -> None:
    asked, word = {
        "plain": (plain, Robustness.BROKEN),
        "hardened": (hardened, Robustness.ROBUST),
        "stairs": (Behind(plain, Stairs()), Robustness.INCONCLUSIVE),
    }[model]
    signs = _signs(asked, ATTACK, other)
    assert signs.robustness is word, signs.message
    assert signs.message
    shown = {sign.name for sign in signs.shown}
    if word is Robustness.INCONCLUSIVE:
        assert {"the gradient is zero", "more steps do not help"} <= shown
        assert "an attack without gradients beats the one with them" in shown
        assert signs.left_by_all < signs.left
    elif word is Robustness.ROBUST:
        assert not shown
        assert signs.left > 25


def test_the_right_attack_takes_the_signs_away(plain: Classifier, other: Classifier) -> None:
    stairs = Behind(plain, Stairs())
    assert _signs(stairs, replace(ATTACK, bpda=True), other).robustness is Robustness.BROKEN


def test_random_answers_call_for_an_attack_over_draws(plain: Classifier) -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = Behind(plain, after=lambda z: z + 0.1 * torch.randn(z.shape, generator=generator))
    small = replace(ATTACK, epsilon=0.01)
    name, images = "answers are random and the attack takes one", TEST.take(torch.arange(20))
    single = find_warning_signs(_white(noisy), images, small, queries=10)
    assert name in {sign.name for sign in single.shown}
    over_draws = find_warning_signs(_white(noisy), images, replace(small, draws=2), queries=10)
    assert name not in {sign.name for sign in over_draws.signs}


def test_signs_judge_an_attack_that_another_made(plain: Classifier) -> None:
    target = _white(plain)
    found = evade(target, TEST, RandomPoints(EPSILON, queries=2))
    signs = find_warning_signs(target, TEST, ATTACK, found=found, queries=50)
    assert signs.left == int((found.attacked & ~found.success).sum())
    assert signs.robustness is Robustness.INCONCLUSIVE
    with pytest.raises(InvalidRequestError, match="on the same images"):
        find_warning_signs(target, TEST.take(torch.arange(50)), ATTACK, found=found)
    with pytest.raises(InvalidRequestError, match="reveals weights, got confidences"):
        find_warning_signs(Queried(plain), TEST, ATTACK)


def test_impossible_settings_are_refused_and_budgets_kept(plain: Classifier) -> None:
    for setting in ({"steps": 0}, {"draws": 0}, {"restarts": 0}, {"step_size": 0.0}):
        with pytest.raises(InvalidRequestError, match=next(iter(setting))):
            ProjectedGradient(**setting)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="linf or l2"):
        ProjectedGradient(norm=Norm.L0)
    with pytest.raises(InvalidRequestError, match="queries"):
        RandomSquares(queries=0)
    target = Queried(plain, reveals=Reveals.WEIGHTS, budget=150)
    images = TEST.take(torch.arange(10))
    assert "budget of 150" in evade(target, TEST, ATTACK).note
    assert evade(Queried(plain, budget=150), images, RandomPoints(queries=100)).queries <= 150
    with pytest.raises(BudgetSpentError, match="budget of 50"):
        find_warning_signs(Queried(plain, reveals=Reveals.WEIGHTS, budget=50), images, ATTACK)
