from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.attacks import ProjectedGradient, evade
from molehunt.defences import BoundMethod, certify_box, read_network
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, load_images
from molehunt.networks import (
    BlackBox,
    Classifier,
    ModelCard,
    Queried,
    Reveals,
    build_classifier,
    build_network,
)
from molehunt.training import Recipe, train

SIZE, EPSILON = 16, 0.01


class Functional(nn.Module):
    """What strangers write: functions in place of modules, a residual sum, a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, stride=2, padding="valid", dilation=2)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding="same", groups=2, bias=False)
        self.last = nn.Linear(6, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = functional.relu(self.norm(self.first(images)))
        hidden = functional.max_pool2d(hidden, 3, stride=2, padding=1)
        hidden = (hidden + self.second(hidden)).relu()
        hidden = functional.avg_pool2d(hidden, 2, ceil_mode=True).mean((2, 3))
        hidden = functional.dropout(hidden.view(hidden.size(0), -1), 0.1, self.training)
        return self.last(hidden).softmax(1)


def overlapping() -> nn.Module:
    """Windows that overlap, and one with the last row in no window."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU()),
        *(nn.Conv2d(4, 4, 2, stride=2), nn.MaxPool2d(2, 1), nn.Flatten(), nn.BatchNorm1d(16)),
        *(nn.Linear(16, 10), nn.Identity()),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    name: lambda name=name, arguments=arguments: build_network(
        name.partition(" ")[0],
        input_shape=(1, SIZE, SIZE),
        num_classes=10,
        arguments=arguments,
        seed=0,
    )
    for name, arguments in {
        "strided": {"width": 4, "hidden": 20},
        "badnets-mnist": {},
        "vgg": {"width": 4, "stages": [1, 1]},
        "vgg plain": {"width": 4, "stages": [2], "batch_norm": False, "dropout": 0.2},
        "resnet": {"width": 4},
    }.items()
} | {"functional": Functional, "overlapping": overlapping}


@cache
def trained(name: str) -> tuple[Classifier, ImageSet]:
    digits = load_images("digits", size=SIZE)
    mean, std = digits.train.mean_and_std()
    # Another value range and order of channels are part of what is bounded.
    card = ModelCard(
        architecture=name,
        input_shape=(1, SIZE, SIZE),
        value_range=(-1, 1),
        mean=tuple(2 * each - 1 for each in mean),
        std=tuple(2 * each for each in std),
        class_names=digits.train.class_names,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier(NETWORKS[name](), card)
    train(model, digits.train, Recipe(epochs=2, batch_size=64, lr=0.02), seed=0)
    return model.freeze(), digits.test.take(torch.arange(100))


def least_true_margins(model: Classifier, images: ImageSet, epsilon: float) -> Tensor:
    """The least margins over random corners and points of the box, and the images, [N, K]."""
    generator = torch.Generator().manual_seed(1)
    pixels, found = images.pixels(), []
    for number in range(16):
        change = 2 * torch.rand(pixels.shape, generator=generator) - 1
        change = change.sign() if number % 2 else change * (number > 0)
        logits = model((pixels + epsilon * change).clamp(0, 1)).double()
        if model.card.architecture == "functional":
            logits = logits.log()
        found.append(logits.gather(1, images.labels[:, None]) - logits)
    return torch.stack(found).amin(0)


@pytest.mark.parametrize("name", NETWORKS)
def test_certified_is_at_most_true_is_at_most_attacked(name: str) -> None:
    model, images = trained(name)
    target = Queried(copy.deepcopy(model), reveals=Reveals.WEIGHTS)
    attacked = evade(target, images, ProjectedGradient(epsilon=EPSILON, steps=8))
    survived = attacked.predictions == images.labels
    found = {
        method: certify_box(model, images, epsilon=EPSILON, method=method)
        for method in (BoundMethod.IBP, BoundMethod.CROWN_IBP)
    }
    few = images.take(torch.arange(3))
    found[BoundMethod.CROWN] = certify_box(model, few, epsilon=EPSILON, method="crown")
    for certificates in found.values():
        count = len(certificates.labels)
        assert (certificates.certified <= certificates.correct).all()
        assert (certificates.certified <= survived[:count]).all()
        assert (survived <= attacked.before.eq(images.labels)).all()
        least = least_true_margins(model, images.take(torch.arange(count)), EPSILON)
        assert (certificates.margins <= least + 1e-4).all()
    ibp, crown_ibp, crown = (found[method].margins[:3] for method in BoundMethod)
    assert (ibp <= crown_ibp + 1e-5).all() and (crown_ibp <= crown + 1e-5).all()
    assert float((crown - ibp).mean()) > 0.01  # and it is not the same bound three times


@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_change_every_bound_is_the_margin(name: str) -> None:
    model, images = trained(name)
    few = images.take(torch.arange(6))
    true = least_true_margins(model, few, 0.0)
    for method in BoundMethod:
        assert torch.allclose(
            certify_box(model, few, epsilon=0, method=method).margins.double(), true, atol=1e-3
        )


def test_the_order_of_channels_is_part_of_the_network() -> None:
    pixels = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    images = ImageSet(pixels.to(torch.uint8), torch.arange(5), tuple("abcdefg"))
    card = build_classifier("strided", images, seed=0).card
    card = card.model_copy(update={"channel_order": "bgr", "mean": (0.1, 0.5, 0.9)})
    model = Classifier(build_network("strided", input_shape=(3, 8, 8), num_classes=7, seed=0), card)
    for epsilon in (0.0, 0.05):
        least = least_true_margins(model, images, epsilon)
        for method in BoundMethod:
            margins = certify_box(model, images, epsilon=epsilon, method=method).margins
            assert (margins <= least + 1e-4).all()
            assert epsilon or torch.allclose(margins.double(), least, atol=1e-4)


def test_changed_pixels_stay_in_their_range() -> None:
    """Of black and white images only one side of the box is there: bounds are that much tighter."""
    white = ImageSet(
        torch.full((1, 1, 4, 4), 255, dtype=torch.uint8), torch.tensor([0]), ("a", "b")
    )
    card = ModelCard(
        architecture="sum", input_shape=(1, 4, 4), mean=(0.0,), std=(1.0,), class_names=("a", "b")
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        network[1].weight[:] = torch.tensor([[-1.0], [0.0]])
        network[1].bias[:] = torch.tensor([16.5, 0.0])
    found = certify_box(Classifier(network, card), white, epsilon=0.5, method="ibp")
    assert found.margins.tolist() == [[0.0, 0.5]] and found.certified.all()


def unknown(*layers: nn.Module) -> Classifier:
    model, _ = trained("strided")
    return Classifier(nn.Sequential(*layers, nn.Flatten(), nn.Linear(SIZE**2, 10)), model.card)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: unknown(nn.Tanh()), r"0 \(Tanh\)"),
        (lambda: unknown(nn.Softmax(1)), r"0 \(Softmax\)"),
        (lambda: unknown(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), r"0 \(Conv2d\)"),
        (lambda: unknown(nn.BatchNorm2d(1, track_running_stats=False)), r"0 \(BatchNorm2d\)"),
        (lambda: build_of("zf", {"width": 0.05, "hidden": 8}), r"\(LocalResponseNorm\)"),
        (lambda: build_of("stn-vgg", {"width": 4}), r"transformer \(SpatialTransformer\)"),
    ],
)
def test_a_layer_that_is_not_known_is_named(model: Callable[[], Classifier], named: str) -> None:
    with pytest.raises(UnsuitableSubjectError, match=f"expected convolution, .*, got .*{named}"):
        read_network(model())


def build_of(name: str, arguments: dict[str, object]) -> Classifier:
    images = load_images("digits", size=32).test
    return build_classifier(name, images, arguments=arguments, seed=0)


class InPlace(nn.Module):
    """The second term of the sum is rectified, too, as the first ReLU works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(SIZE**2, 8), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.first(images.flatten(1))
        return self.last(functional.relu_(hidden) + hidden)


class AtTestTime(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(SIZE**2, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(functional.dropout(images.flatten(1), 0.5))


@pytest.mark.parametrize(
    ("network", "message"), [(InPlace, "change nothing in place"), (AtTestTime, "function dropout")]
)
def test_what_the_layers_do_not_say_is_refused(network: type[nn.Module], message: str) -> None:
    model, images = trained("strided")
    with pytest.raises(UnsuitableSubjectError, match=message):
        certify_box(Classifier(network(), model.card), images, epsilon=EPSILON)


def test_impossible_requests_are_refused() -> None:
    model, images = trained("strided")
    few = images.take(torch.arange(2))
    with pytest.raises(InvalidRequestError, match=r"expected a number in \[0, 1\].*, got 8"):
        certify_box(model, few, epsilon=8)
    with pytest.raises(InvalidRequestError, match="expected ibp, crown-ibp, crown, got 'lp'"):
        certify_box(model, few, epsilon=0.1, method="lp")
    with pytest.raises(InvalidRequestError, match=r"1 or more of shape \(1, 16, 16\)"):
        certify_box(model, few.resized(12), epsilon=0.1)
    with pytest.raises(InvalidRequestError, match="1 or more"):
        certify_box(model, few.take(torch.arange(0)), epsilon=0.1)
    asked = BlackBox(lambda images: images[:, 0, 0, :10], model.card)
    with pytest.raises(UnsuitableSubjectError, match="one with weights, got one that only answers"):
        certify_box(asked, few, epsilon=0.1)
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.network.classifier[1].weight[0, 0] = torch.nan
    with pytest.raises(UnsuitableSubjectError, match="weights: expected finite numbers"):
        certify_box(broken, few, epsilon=0.1)
