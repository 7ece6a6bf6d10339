from __future__ import annotations

import pytest
import torch
from torch import Tensor

from molehunt.attacks import Inverted, ModelInversion, Prior
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import load_images
from molehunt.networks import BudgetSpentError, Classifier, Queried, Reveals, build_classifier
from molehunt.training import Recipe, train

DIGITS = load_images("digits")
MEANS = torch.stack([DIGITS.train.pixels()[DIGITS.train.labels == n].mean(0) for n in range(10)])
PLAIN = ModelInversion(steps=10, lr=0.1, denoise=0.0, views=0)


@pytest.fixture(scope="module")
def softmax() -> Classifier:
    model = build_classifier("mlp", DIGITS.train, arguments={"hidden": []}, seed=0)
    train(model, DIGITS.train, Recipe(epochs=5, batch_size=64), seed=0)
    return model


def right(found: Inverted) -> int:
    """Count the images that correlate the most with the mean image of their class."""

    def centred(images: Tensor) -> Tensor:
        flat = images.flatten(1).float()
        flat = flat - flat.mean(1, keepdim=True)
        return flat / flat.norm(dim=1, keepdim=True)

    near = (centred(found.images) @ centred(MEANS).T).argmax(1)
    return int((near == found.classes).sum())


@pytest.mark.parametrize(
    ("attack", "questions"),
    [(PLAIN, 11), (ModelInversion(steps=10, lr=0.1, denoise=0.06, shift=0.13), 31)],
    ids=["as it is", "views"],
)
def test_gradients_show_what_a_class_looks_like(
    softmax: Classifier, attack: ModelInversion, questions: int
) -> None:
    target = Queried(softmax, reveals=Reveals.WEIGHTS)
    found = attack.invert(target)
    assert right(found) >= 8
    assert found.queries == target.queries == 10 * questions and not found.note
    # The confidences are of the images as they are saved.
    asked = Queried(softmax).confidences(found.images.float().div(255))
    torch.testing.assert_close(found.confidences, asked.diagonal())
    assert float(found.confidences.min()) > 0.8


def test_an_untrained_network_shows_nothing() -> None:
    model = build_classifier("mlp", DIGITS.train, arguments={"hidden": []}, seed=5)
    assert right(PLAIN.invert(Queried(model, reveals=Reveals.WEIGHTS))) <= 4


@pytest.mark.parametrize(("cell", "cells"), [(1, 64), (3, 9)])
def test_confidences_are_enough(softmax: Classifier, cell: int, cells: int) -> None:
    target = Queried(softmax)
    found = ModelInversion(steps=3, lr=0.15, denoise=0.0, views=0, cell=cell).invert(target)
    assert found.queries == target.queries == 10 * (4 + 3 * cells)
    assert right(found) >= (9 if cell == 1 else 5)
    one = ModelInversion(steps=2, views=1, cell=4, lr=0.1, denoise=0.0).invert(target, [7])
    assert one.classes.tolist() == [7] and one.queries == 3 + 2 * (1 + 4)


def test_a_spent_budget_keeps_what_was_found(softmax: Classifier) -> None:
    found = PLAIN.invert(Queried(softmax, reveals=Reveals.WEIGHTS, budget=35), [1, 2])
    assert found.queries == 22 and not found.note
    found = PLAIN.invert(Queried(softmax, reveals=Reveals.WEIGHTS, budget=9), [1, 2])
    assert found.queries == 8 and "the budget of 9 queries is spent" in found.note
    assert found.images.shape == (2, 1, 8, 8)
    with pytest.raises(BudgetSpentError):
        PLAIN.invert(Queried(softmax, budget=9))


def test_what_cannot_be_climbed_is_told(softmax: Classifier) -> None:
    with pytest.raises(UnsuitableSubjectError, match="steal a copy first"):
        PLAIN.invert(Queried(softmax, reveals=Reveals.LABELS))
    blunt = Queried(softmax, reveals=Reveals.ROUNDED, decimals=0)
    found = ModelInversion(steps=2, views=0, cell=8, difference=0.01).invert(blunt, [3])
    assert "no change of the pixels changed a confidence" in found.note


def test_a_deep_image_prior_climbs_and_draws_the_same_again(softmax: Classifier) -> None:
    state = torch.get_rng_state()
    attack = ModelInversion(steps=15, prior=Prior.DEEP_IMAGE, views=1)
    one, other = (
        attack.invert(Queried(softmax, reveals=Reveals.WEIGHTS), [0, 4]) for _ in range(2)
    )
    assert torch.equal(one.images, other.images)
    assert torch.equal(torch.get_rng_state(), state)
    grey = Queried(softmax).confidences(torch.full((1, 1, 8, 8), 0.5))[0, [0, 4]]
    assert bool((one.confidences > grey).all())


def test_denoising_is_a_share_of_the_side(softmax: Classifier) -> None:
    rough, smooth = (
        ModelInversion(steps=10, lr=0.1, denoise=share, views=0)
        .invert(Queried(softmax, reveals=Reveals.WEIGHTS))
        .images.float()
        for share in (0.0, 0.12)
    )

    def varied(images: Tensor) -> float:
        return float((images[..., 1:] - images[..., :-1]).abs().mean())

    assert varied(smooth) < 0.8 * varied(rough)


def test_stopping_early_costs_fewer_questions(softmax: Classifier) -> None:
    target = Queried(softmax, reveals=Reveals.WEIGHTS)
    found = ModelInversion(steps=50, lr=0.1, denoise=0.0, stop_at=0.9).invert(target)
    assert found.queries < 10 * 151
    assert float(found.confidences.min()) >= 0.9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps: expected 1 to"),
        ({"lr": 0}, "lr: expected"),
        ({"lr": float("nan")}, "lr: expected"),
        ({"prior": "gan"}, "prior: expected pixels or deep-image, got gan"),
        ({"difference": 0.001}, "difference: expected"),
        ({"shift": 0.6}, "shift: expected 0 to 0.5"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        ModelInversion(**settings)


@pytest.mark.parametrize("classes", [[10], [-1], []])
def test_a_class_that_is_not_there_is_refused(softmax: Classifier, classes: list) -> None:
    with pytest.raises(InvalidRequestError, match="class: expected 0 to 9"):
        PLAIN.invert(Queried(softmax), classes)
