"""Wrappers that hide what a model does: each is a classifier like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from molehunt.attacks import Loss, ProjectedGradient, approximate_backward, evade
from molehunt.defences import (
    BitDepth,
    Defended,
    DefensiveDistillation,
    FractalLayer,
    JpegCompression,
    OutputNoise,
    RandomFeatures,
    RandomResizing,
    ScaledLogits,
    ThermometerCode,
    TotalVariation,
    drop_at_test_time,
)
from molehunt.errors import InvalidRequestError, UnreadableFileError, UnsuitableSubjectError
from molehunt.images import load_images
from molehunt.networks import (
    BlackBox,
    Classifier,
    ModelCard,
    Queried,
    Reveals,
    build_classifier,
    build_network,
    load_model,
    logits_of,
    save_model,
)
from molehunt.training import Recipe, clean_accuracy, train

DIGITS = load_images("digits", size=12)
TEST = DIGITS.test.take(torch.arange(60))
PIXELS = TEST.pixels()[:6]
VGG = {"width": 6, "stages": [1, 1]}
RECIPE = Recipe(epochs=3, batch_size=64, precision="float32")

Wrap = Callable[[Classifier], Classifier]
COMPLEX: dict[str, Wrap] = {
    "bit-depth": lambda model: Defended(model, before=BitDepth(bits=3)),
    "jpeg": lambda model: Defended(model, before=JpegCompression(quality=60)),
    "fractal": lambda model: Defended(model, before=FractalLayer()),
    "scaled": lambda model: Defended(model, after=ScaledLogits(factor=1e4)),
}
RANDOM: dict[str, Wrap] = {
    "total-variation": lambda model: Defended(model, before=TotalVariation(keep=0.8, seed=3)),
    "resizing": lambda model: Defended(model, before=RandomResizing(seed=3)),
    "features": lambda model: Defended(model, before=RandomFeatures(keep=0.95, seed=3)),
    "noise": lambda model: Defended(model, after=OutputNoise(scale=0.5, seed=3)),
    "dropout": lambda model: drop_at_test_time(model, rate=0.05, seed=3),
}
WRAPS = {**COMPLEX, **RANDOM}


@pytest.fixture(scope="module")
def model() -> Classifier:
    built = build_classifier("vgg", DIGITS.train, arguments=VGG, seed=0)
    train(built, DIGITS.train, RECIPE, seed=0)
    return built.freeze()


@pytest.mark.parametrize("name", WRAPS)
def test_a_defended_model_is_a_classifier_that_can_be_attacked(
    name: str, model: Classifier
) -> None:
    state = torch.get_rng_state()
    defended = WRAPS[name](model)
    assert defended.card.input_shape == model.card.input_shape
    assert defended.card.class_names == model.card.class_names
    assert defended.gives == model.gives
    accuracy = clean_accuracy(defended, DIGITS.test)
    assert accuracy > clean_accuracy(model, DIGITS.test) - 0.25
    target = Queried(defended, reveals=Reveals.WEIGHTS)
    attack = ProjectedGradient(epsilon=0.3, steps=8, loss=Loss.MARGIN, bpda=True)
    assert evade(target, TEST, attack).success_rate[0] > 0.6
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", RANDOM)
def test_random_answers_follow_from_the_seed(name: str, model: Classifier) -> None:
    one, other = WRAPS[name](model), WRAPS[name](model)
    first, again = one(PIXELS), one(PIXELS)
    assert not torch.allclose(first, again)
    assert torch.equal(first, other(PIXELS))
    assert torch.equal(again, other(PIXELS))


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_answers_are_the_same_each_time(name: str, model: Classifier) -> None:
    defended = WRAPS[name](model)
    assert torch.equal(defended(PIXELS), defended(PIXELS))
    images = TEST.images[:6]
    assert torch.allclose(logits_of(defended, images), defended(PIXELS), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("layer", "flat"),
    [
        (BitDepth(bits=2), True),
        (JpegCompression(), True),
        (TotalVariation(seed=0), True),
        (ThermometerCode(levels=8), True),
        (FractalLayer(), False),
    ],
)
def test_a_layer_hides_its_gradient_and_knows_one_close_to_it(layer: nn.Module, flat: bool) -> None:
    pixels = PIXELS.clone().requires_grad_()
    answers = layer(pixels)
    weights = torch.linspace(1, 2, answers.numel()).view(answers.shape)
    (gradient,) = torch.autograd.grad((answers * weights).sum(), pixels)
    assert bool((gradient == 0).all()) is flat
    with approximate_backward(layer):
        (close,) = torch.autograd.grad((layer(pixels) * weights).sum(), pixels)
    assert float(close.mean()) > 0.2
    assert layer.approximation(PIXELS).shape == answers.shape  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 32, 24)])
def test_soft_jpeg_is_close_to_jpeg(shape: tuple[int, ...]) -> None:
    coarse = torch.rand(shape[0], shape[1], 5, 5, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(coarse, shape[2:], mode="bicubic").clamp(0, 1)
    layer = JpegCompression(quality=20)
    read = layer(pixels)
    away = float((layer.approximation(pixels) - read).abs().mean())
    assert away < 0.7 * float((pixels - read).abs().mean())


def test_missing_pixels_are_drawn_from_their_neighbours() -> None:
    ramp = torch.linspace(0, 1, 16).expand(2, 3, 16, 16).contiguous()
    noisy = (
        ramp + 0.1 * torch.randn(ramp.shape, generator=torch.Generator().manual_seed(0))
    ).clamp(0, 1)
    drawn = TotalVariation(keep=0.5, weight=0.1, steps=40, seed=0)(noisy)
    assert float((drawn - ramp).abs().mean()) < 0.7 * float((noisy - ramp).abs().mean())


def test_a_resized_image_lies_whole_on_black() -> None:
    layer = RandomResizing(smallest=0.5, seed=0)
    shrunk = layer(torch.ones(50, 1, 20, 20)).sum((1, 2, 3)) / 400
    assert 0.2 < float(shrunk.min()) < 0.4
    assert 0.8 < float(shrunk.max()) <= 1


def test_a_model_behind_a_thermometer_is_trained_and_kept_as_any_other(tmp_path: Path) -> None:
    channels, height, width = DIGITS.train.shape
    card = ModelCard(
        architecture="vgg",
        arguments=VGG,
        input_shape=(8 * channels, height, width),
        mean=(0.5,) * 8,
        std=(0.5,) * 8,
        class_names=DIGITS.train.class_names,
    )
    network = build_network(
        "vgg", input_shape=card.input_shape, num_classes=10, arguments=VGG, seed=0
    )
    inside = Classifier(network, card)
    defended = Defended(inside, before=ThermometerCode(levels=8), input_shape=DIGITS.train.shape)
    train(defended, DIGITS.train, RECIPE, seed=0)
    assert clean_accuracy(defended, DIGITS.test) > 0.8
    save_model(inside, tmp_path / "inside.safetensors")
    again = Defended(
        load_model(tmp_path / "inside.safetensors"),
        before=ThermometerCode(levels=8),
        input_shape=DIGITS.train.shape,
    )
    assert torch.equal(again(PIXELS), defended(PIXELS))
    save_model(defended, tmp_path / "outside.safetensors")
    with pytest.raises(UnreadableFileError, match="defended vgg"):
        load_model(tmp_path / "outside.safetensors")


def test_a_distilled_student_has_large_logits(model: Classifier) -> None:
    teacher, student = (
        build_classifier("vgg", DIGITS.train, arguments=VGG, seed=seed) for seed in (0, 1)
    )
    train(teacher, DIGITS.train, RECIPE, seed=0, objective=DefensiveDistillation(20))
    train(student, DIGITS.train, RECIPE, seed=1, objective=DefensiveDistillation(20, teacher))
    assert clean_accuracy(student, DIGITS.test) > 0.8
    assert float(student.freeze()(PIXELS).std()) > 3 * float(model(PIXELS).std())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BitDepth(bits=0), "bits: expected 1 to 8, got 0"),
        (lambda: ThermometerCode(levels=1), "levels"),
        (lambda: JpegCompression(quality=0), "quality"),
        (lambda: TotalVariation(keep=0), "keep"),
        (lambda: TotalVariation(weight=float("nan")), "weight"),
        (lambda: FractalLayer(amplitude=0), "amplitude"),
        (lambda: FractalLayer(octaves=9), "octaves"),
        (lambda: ScaledLogits(factor=0), "factor"),
        (lambda: OutputNoise(scale=0), "scale"),
        (lambda: RandomResizing(smallest=1), "smallest"),
        (lambda: RandomFeatures(keep=1), "keep"),
        (lambda: DefensiveDistillation(0.5), "temperature"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        make()


def test_what_does_not_fit_a_model_is_refused(model: Classifier) -> None:
    with pytest.raises(InvalidRequestError, match="a part before or after"):
        Defended(model)
    with pytest.raises(InvalidRequestError, match="rate of dropout"):
        drop_at_test_time(model, rate=1)
    box = BlackBox(lambda images: images.reshape(len(images), -1)[:, :10], model.card)
    with pytest.raises(UnsuitableSubjectError, match="shows no layers"):
        drop_at_test_time(box)
    with pytest.raises(UnsuitableSubjectError, match="channels for JPEG"):
        JpegCompression()(torch.zeros(1, 2, 4, 4))
    with pytest.raises(UnsuitableSubjectError, match="squashes"):
        WRAPS["jpeg"](model).levels(PIXELS, 1)
    # What only answers can be defended, too; it is attacked by its answers.
    defended = Defended(box, before=BitDepth(bits=1))
    with pytest.raises(UnsuitableSubjectError, match="gives no gradients"):
        Queried(defended, reveals=Reveals.WEIGHTS)
    assert Queried(defended).confidences(PIXELS).shape == (6, 10)
