from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from molehunt.backdoors import AllToOne, Backdoor, RandomPatch
from molehunt.errors import InvalidRequestError
from molehunt.images import TrainTest
from molehunt.networks import Classifier, build_classifier
from molehunt.training import Batch, CrossEntropy, Recipe, train

RECIPE = Recipe(epochs=6, batch_size=64)
EPSILON = 0.15


def network(digits: TrainTest) -> Classifier:
    return build_classifier("vgg", digits.train, arguments={"width": 4, "stages": [1]}, seed=0)


def step_away(model: Classifier, pixels: Tensor, labels: Tensor) -> Tensor:
    """The fast gradient sign method (Goodfellow et al., 2015)."""
    pixels = pixels.detach().clone().requires_grad_()
    loss = functional.cross_entropy(model(pixels).float(), labels)
    (gradient,) = torch.autograd.grad(loss, pixels)
    return (pixels + EPSILON * gradient.sign()).clamp(0, 1).detach()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cross_entropy_is_what_is_minimised_when_nothing_is_said(digits, precision: str) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 1, "label_smoothing": 0.1, "precision": precision})
    models = [network(digits), network(digits), network(digits)]
    for model, objective in zip(models, (None, CrossEntropy(0.1), CrossEntropy()), strict=True):
        train(model, digits.train, recipe, seed=0, objective=objective)
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_adversarial_training_is_an_objective(digits: TrainTest) -> None:
    def adversarial(model: Classifier, batch: Batch) -> Tensor:
        pixels = step_away(model, batch.pixels, batch.labels)
        return functional.cross_entropy(model(pixels).float(), batch.labels)

    accuracy = []
    for objective in (None, adversarial):
        model = network(digits)
        train(model, digits.train, RECIPE, seed=0, objective=objective)
        attacked = step_away(model, digits.test.pixels(), digits.test.labels)
        right = model(attacked).argmax(1) == digits.test.labels
        accuracy.append(float(right.float().mean()))
    assert accuracy[1] > accuracy[0] + 0.1, accuracy


def test_an_objective_sees_which_images_are_stamped(digits: TrainTest) -> None:
    backdoor = Backdoor(trigger=RandomPatch(size=4, seed=2), label_map=AllToOne(target=3))
    data = backdoor.poison(digits.train, generator=torch.Generator().manual_seed(0))
    seen: list[Batch] = []

    def watching(model: Classifier, batch: Batch) -> Tensor:
        assert model.training
        seen.append(batch)
        return CrossEntropy()(model, batch)

    recipe = Recipe(epochs=1, batch_size=len(data))
    train(network(digits), data, recipe, seed=0, objective=watching)
    (batch,) = seen
    assert int(batch.stamped.sum()) == int(data.stamped.sum()) > 0
    assert (batch.labels[batch.stamped] == 3).all()
    assert batch.pixels.dtype == torch.float32 and float(batch.pixels.max()) <= 1


def test_a_loss_for_each_image_is_refused(digits: TrainTest) -> None:
    def unreduced(model: Classifier, batch: Batch) -> Tensor:
        return functional.cross_entropy(model(batch.pixels), batch.labels, reduction="none")

    with pytest.raises(InvalidRequestError, match=r"expected a scalar, got .* shape \(64,\)"):
        train(network(digits), digits.train, RECIPE, seed=0, objective=unreduced)
