from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from molehunt.attacks import Norm, evade, to_bytes
from molehunt.errors import InvalidRequestError
from molehunt.images import ImageSet, load_images
from molehunt.networks import Classifier, Queried, Reveals, build_classifier
from molehunt.training import Recipe, train

DIGITS = load_images("digits", size=12)
TEST = DIGITS.test.take(torch.arange(60))


@pytest.fixture(scope="module")
def model() -> Classifier:
    vgg = {"width": 6, "stages": [1, 1]}
    built = build_classifier("vgg", DIGITS.train, arguments=vgg, seed=0)
    train(built, DIGITS.train, Recipe(epochs=3), seed=0)
    return built


@dataclass(frozen=True)
class Step:
    """One step along the gradient's sign."""

    name = "step"
    needs = Reveals.WEIGHTS
    norm: Norm | None = Norm.LINF
    epsilon: float | None = 0.2

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        pixels = images.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(target.logits(pixels), labels)
        (gradient,) = torch.autograd.grad(loss, pixels)
        return images + self.epsilon * gradient.sign()  # type: ignore[operator]


def test_success_is_what_the_model_says_of_the_saved_images(model: Classifier) -> None:
    result = evade(Queried(model, reveals=Reveals.WEIGHTS), TEST, Step())
    again = model(result.images.float().div(255)).argmax(1)
    assert torch.equal(result.predictions, again)
    assert torch.equal(result.success, result.attacked & (again != TEST.labels))
    assert int(result.success.sum()) > 10
    assert result.images.dtype == torch.uint8
    assert float(result.sizes(Norm.LINF).max()) <= 0.2 + 1e-6
    rate, (low, high) = result.robust_accuracy
    assert low <= rate <= high
    assert rate == pytest.approx(result.clean_accuracy[0] - int(result.success.sum()) / 60)


def test_only_images_that_the_model_gets_right_are_attacked(model: Classifier) -> None:
    wrong = TEST.labels.clone()
    wrong[:10] = (wrong[:10] + 1) % 10
    shown = ImageSet(TEST.images, wrong, TEST.class_names)
    target = Queried(model, reveals=Reveals.WEIGHTS)
    result = evade(target, shown, Step())
    right = model(TEST.pixels()).argmax(1) == wrong
    assert torch.equal(result.attacked, right)
    assert result.queries == int(right.sum()) == target.queries
    assert torch.equal(result.images[~right], TEST.images[~right])


def test_where_the_model_is_always_wrong_nothing_is_attacked(model: Classifier) -> None:
    predictions = model(TEST.pixels()).argmax(1)
    shown = ImageSet(TEST.images, (predictions + 1) % 10, TEST.class_names)
    target = Queried(model, reveals=Reveals.WEIGHTS)
    result = evade(target, shown, Step())
    assert target.queries == 0
    assert not bool(result.attacked.any())
    assert torch.equal(result.images, TEST.images)


def test_a_target_is_reached_or_it_is_no_success(model: Classifier) -> None:
    targets = torch.full((60,), 3)
    result = evade(Queried(model, reveals=Reveals.WEIGHTS), TEST, Step(), targets=targets)
    assert not bool(result.attacked[result.before == 3].any())
    assert torch.equal(result.success, result.attacked & (result.predictions == 3))


def test_a_budget_that_runs_out_keeps_what_was_done(model: Classifier) -> None:
    target = Queried(model, reveals=Reveals.WEIGHTS, budget=25)
    result = evade(target, TEST, Step(), batch_size=10)
    assert int(result.attacked.sum()) == 20
    assert "25 queries is spent" in result.note
    assert "20 of" in result.note
    assert int(result.success.sum()) > 0


@pytest.mark.parametrize(
    ("norm", "epsilon"), [(Norm.LINF, 8 / 255), (Norm.LINF, 0.05), (Norm.L2, 0.5), (Norm.L2, 0.01)]
)
def test_rounding_stays_in_the_ball(norm: Norm, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(0)
    originals = torch.randint(256, (50, 3, 5, 5), generator=generator, dtype=torch.uint8)
    change = torch.randn(50, 3, 5, 5, generator=generator)
    change *= (epsilon / norm.of(change)).view(-1, 1, 1, 1)
    saved = to_bytes(originals.float() / 255 + change, originals, norm, epsilon)
    assert float(norm.of((saved.float() - originals.float()) / 255).max()) <= epsilon + 1e-6


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (Step(epsilon=0.0), "epsilon: expected above 0, at most 1"),
        (Step(epsilon=1.5), "epsilon"),
        (Step(epsilon=float("nan")), "epsilon"),
        (Step(norm=Norm.L2, epsilon=13), "at most 12"),
    ],
)
def test_a_radius_outside_the_pixels_is_refused(model: Classifier, attack: Step, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        evade(Queried(model, reveals=Reveals.WEIGHTS), TEST, attack)


def test_what_does_not_fit_is_refused_before_a_question(model: Classifier) -> None:
    target = Queried(model)
    with pytest.raises(InvalidRequestError, match="reveals weights, got confidences"):
        evade(target, TEST, Step())
    white = Queried(model, reveals=Reveals.WEIGHTS)
    with pytest.raises(InvalidRequestError, match="shape"):
        evade(white, TEST.resized(8), Step())
    for targets in (torch.zeros(3, dtype=torch.int64), torch.full((60,), 10), torch.zeros(60)):
        with pytest.raises(InvalidRequestError, match="targets"):
            evade(white, TEST, Step(), targets=targets)
    assert target.queries == white.queries == 0
