from __future__ import annotations

import numpy as np
import pytest
import torch

from molehunt.detectors import LitmusPatterns, NoisePatterns
from molehunt.detectors._patterns import pool
from molehunt.detectors._stacking import stacks_of
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import BlackBox, build_classifier
from molehunt.zoo import Split, Zoo


def test_stacked_models_answer_as_each_alone(zoo: Zoo, digits: TrainTest) -> None:
    models = list(zoo.models(zoo.records[:5]))
    # Another architecture among them goes to a stack of its own.
    models.insert(2, build_classifier("resnet", digits.train, arguments={"width": 4}).freeze())
    patterns = torch.rand(3, 1, 12, 12)
    answers = torch.zeros(6, 3, 10)
    stacks = list(stacks_of(models, torch.device("cpu"), chunk=2))
    for stack in stacks:
        answers[stack.positions] = stack.logits(patterns)
    assert sorted(len(stack.positions) for stack in stacks) == [1, 1, 2, 2]
    with torch.no_grad():
        alone = torch.stack([model(patterns) for model in models])
    torch.testing.assert_close(answers, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("stn-vgg", {"width": 4, "stages": [1, 1]}),
        ("resnet", {"width": 4}),
        ("badnets-mnist", {}),
        ("torchvision:shufflenet_v2_x0_5", {}),
    ],
)
def test_every_architecture_can_be_stacked(name: str, arguments: dict) -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(4), ("a", "b", "c", "d"))
    models = [build_classifier(name, images, arguments=arguments, seed=i).freeze() for i in (0, 1)]
    patterns = torch.rand(2, 3, 32, 32, requires_grad=True)
    (stack,) = stacks_of(models, torch.device("cpu"))
    answers = stack.logits(patterns)
    alone = torch.stack([model(patterns) for model in models])
    torch.testing.assert_close(answers, alone, rtol=1e-3, atol=1e-3)
    (gradient,) = torch.autograd.grad(answers.sum(), patterns)
    assert torch.isfinite(gradient).all() and float(gradient.abs().sum()) > 0


def test_the_gradient_of_the_stack_is_that_of_the_models(zoo: Zoo) -> None:
    models = list(zoo.models(zoo.records[:3]))
    patterns = torch.rand(2, 1, 12, 12, requires_grad=True)
    (stack,) = stacks_of(models, torch.device("cpu"))
    (stacked,) = torch.autograd.grad(stack.logits(patterns).square().sum(), patterns)
    (alone,) = torch.autograd.grad(sum(m(patterns).square().sum() for m in models), patterns)
    torch.testing.assert_close(stacked, alone, rtol=1e-3, atol=1e-3)


def test_dropout_drops_units_but_never_pixels(zoo: Zoo) -> None:
    models = list(zoo.models(zoo.records[:4]))
    (stack,) = stacks_of(models, torch.device("cpu"))
    dropped = stack._drop_units(0.5)
    first = "network.features.0.weight"
    assert torch.equal(dropped[first], stack.parameters[first])
    second = dropped["network.features.4.weight"]  # [n, out, in, 3, 3]
    silent = (second == 0).all(dim=(1, 3, 4))
    assert 0 < int(silent.sum()) < silent.numel()
    kept = ~silent[:, None, :, None, None]
    torch.testing.assert_close(
        torch.where(kept, second, 0),
        torch.where(kept, 2 * stack.parameters["network.features.4.weight"], 0),
    )


def test_pooling_is_that_of_the_paper() -> None:
    answers = torch.arange(24.0).reshape(2, 3, 4)
    assert pool(answers, "concatenate").shape == (2, 12)
    assert pool(answers, "max").tolist() == [[8, 9, 10, 11], [20, 21, 22, 23]]
    assert pool(answers, "mean").tolist() == [[4, 5, 6, 7], [16, 17, 18, 19]]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"features": "logits"},
        {"pooling": "max"},
        {"pooling": "mean"},
        {"dropout": 0.2},
        {"jitter": 0.1},
        {"total_variation": 0.5},
    ],
)
def test_patterns_stay_in_range_and_the_loss_falls(zoo: Zoo, settings: dict) -> None:
    models, truth = zoo.labelled(Split.FIT)
    detector = LitmusPatterns(n_patterns=2, epochs=12, **settings).fit(models, truth)
    assert detector.patterns_.shape == (2, 1, 12, 12)
    assert detector.patterns_.min() >= 0 and detector.patterns_.max() <= 1
    assert np.mean(detector.losses_[-3:]) < np.mean(detector.losses_[:3])


def test_total_variation_makes_smoother_patterns(zoo: Zoo) -> None:
    models, truth = zoo.labelled(Split.FIT)

    def roughness(weight: float) -> float:
        patterns = (
            LitmusPatterns(n_patterns=2, epochs=15, total_variation=weight)
            .fit(models, truth)
            .patterns_
        )
        return float(np.abs(np.diff(patterns)).mean() + np.abs(np.diff(patterns, axis=2)).mean())

    assert roughness(10.0) < 0.7 * roughness(0.0)


def test_steps_are_reported_to_the_end(zoo: Zoo) -> None:
    models, truth = zoo.labelled(Split.FIT)
    seen = []
    LitmusPatterns(n_patterns=1, epochs=4).fit(models, truth, progress=lambda *s: seen.append(s))
    assert seen[-1] == (len(seen), len(seen))


def test_optimised_patterns_fit_better_than_the_noise_they_start_from(zoo: Zoo) -> None:
    models, truth = zoo.labelled(Split.FIT)
    detector = LitmusPatterns(n_patterns=2, epochs=20).fit(models, truth)
    assert detector.losses_[-1] < 0.5 * np.log(2)


def test_patterns_cannot_be_fitted_on_models_that_only_answer(zoo: Zoo) -> None:
    models, truth = zoo.labelled(Split.FIT)
    hidden = [BlackBox(lambda images: np.zeros((len(images), 10)), m.card) for m in models]
    with pytest.raises(UnsuitableSubjectError, match="gradients"):
        LitmusPatterns(epochs=1).fit(hidden, truth)


def test_answers_of_another_shape_are_refused(zoo: Zoo) -> None:
    card = zoo.models(zoo.records)[0].card
    (stack,) = stacks_of([BlackBox(lambda images: images, card)], torch.device("cpu"))
    with pytest.raises(UnsuitableSubjectError, match="answers"):
        stack.logits(torch.rand(2, 1, 12, 12))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (LitmusPatterns, {"n_patterns": 0}, "n_patterns"),
        (LitmusPatterns, {"pooling": "sum"}, "pooling"),
        (LitmusPatterns, {"features": "softmax"}, "features"),
        (LitmusPatterns, {"epochs": 0}, "epochs"),
        (LitmusPatterns, {"dropout": 1.0}, "dropout"),
        (NoisePatterns, {"n_patterns": 0}, "n_patterns"),
    ],
)
def test_impossible_settings_are_refused(zoo: Zoo, kind, settings, message) -> None:
    models, truth = zoo.labelled(Split.FIT)
    with pytest.raises(InvalidRequestError, match=message):
        kind(**settings).fit(models, truth)


def test_fitted_features_are_those_of_the_files(zoo: Zoo) -> None:
    """They come from the weights that are stacked already, in another order than the zoo's."""
    models, truth = zoo.labelled(Split.FIT)
    detector = LitmusPatterns(n_patterns=3, epochs=2).fit(models, truth)
    again = detector.transform(models)
    np.testing.assert_allclose(detector.fitted_features_, again, rtol=1e-4, atol=1e-4)
    assert np.abs(again - again[::-1]).max() > 1e-2
