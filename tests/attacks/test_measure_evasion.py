from __future__ import annotations

import pytest
import torch
from torch import Tensor

from molehunt.attacks import (
    EvasionAttack,
    Norm,
    ProjectedGradient,
    RandomPoints,
    Robustness,
    measure_evasion,
    new_attack,
)
from molehunt.errors import InvalidRequestError
from molehunt.images import load_images
from molehunt.networks import Classifier, Reveals, build_classifier
from molehunt.training import Recipe, train

DIGITS = load_images("digits", size=12)
TEST = DIGITS.test.take(torch.arange(40))


class Saturated(torch.nn.Module):
    """Logits so large that their gradient vanishes in float32."""

    def __init__(self, inner: torch.nn.Module, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        return self.scale * logits


@pytest.fixture(scope="module")
def model() -> Classifier:
    vgg = {"width": 6, "stages": [1, 1]}
    built = build_classifier("vgg", DIGITS.train, arguments=vgg, seed=0)
    train(built, DIGITS.train, Recipe(epochs=3), seed=0)
    return built


def test_an_attack_that_fails_on_hidden_gradients_is_inconclusive(model: Classifier) -> None:
    hidden = Classifier(Saturated(model.network, 1e4), model.card)
    attacks: list[EvasionAttack] = [
        ProjectedGradient(0.1, steps=10),
        new_attack("random-squares", epsilon=0.1, queries=200),
    ]
    first, second = measure_evasion(hidden, TEST, attacks, reveals=Reveals.WEIGHTS)
    assert first.evaded is not None and second.evaded is not None
    assert first.evaded.success_rate[0] < 0.5
    assert first.robustness is Robustness.INCONCLUSIVE
    assert "inconclusive" in first.remark and "the gradient is zero" in first.remark
    (plain,) = measure_evasion(
        model, TEST, [ProjectedGradient(0.2, steps=20)], reveals=Reveals.WEIGHTS
    )
    assert plain.robustness is Robustness.BROKEN and plain.signs is None


def test_without_controls_an_attack_that_fails_proves_nothing(model: Classifier) -> None:
    attacks = [RandomPoints(0.004, queries=3)]
    (result,) = measure_evasion(model, TEST, attacks, reveals=Reveals.CONFIDENCES)
    assert result.robustness is Robustness.INCONCLUSIVE
    assert "does not say that the model is robust" in result.remark


class BreaksLater(torch.nn.Module):
    """Answers NaN after so many images."""

    def __init__(self, inner: torch.nn.Module, after: int) -> None:
        super().__init__()
        self.inner, self.after, self.asked = inner, after, 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        logits: Tensor = self.inner(images)
        return logits * torch.nan if self.asked > self.after else logits


def test_nan_ends_one_attack_and_what_was_measured_stays(model: Classifier) -> None:
    broken = Classifier(BreaksLater(model.network, after=250), model.card)
    attacks: list[EvasionAttack] = [
        new_attack("fgsm", epsilon=0.2),
        ProjectedGradient(0.2, steps=20),
    ]
    first, second = measure_evasion(broken, TEST, attacks, reveals=Reveals.WEIGHTS, controls=False)
    assert first.evaded is not None and int(first.evaded.success.sum()) > 0
    assert second.evaded is None
    assert second.remark.startswith("not measured: the model's answers are not finite")


def test_all_is_checked_before_the_first_attack(model: Classifier) -> None:
    attacks = [new_attack("fgsm", epsilon=0.2), new_attack("fmn", norm=Norm.L0, epsilon=500)]
    with pytest.raises(InvalidRequestError, match="epsilon: expected above 0, at most 144"):
        measure_evasion(model, TEST, attacks, reveals=Reveals.WEIGHTS)
