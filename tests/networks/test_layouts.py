"""Networks whose code knows one layout or precision alone are asked in that one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.images import ImageSet
from molehunt.networks import (
    BlackBox,
    Classifier,
    ModelCard,
    build_classifier,
    fast_logits,
    logits_of,
)
from molehunt.training import Recipe, train

CPU = torch.device("cpu")


class Flattening(nn.Module):
    """A tutorial's network: ``x.view(x.size(0), -1)`` wants channels before rows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3, padding=1)
        self.full = nn.Linear(8 * 36, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv(x)), 2)
        answers: Tensor = self.full(x.view(x.size(0), -1))
        return answers


class Watchful(nn.Module):
    """A network that moves its images before it looks: as tutorials' spatial transformers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.move = nn.Parameter(torch.tensor([[1.0, 0.0, 0.1], [0.0, 1.0, 0.0]]))
        self.full = nn.Linear(channels * 144, 10)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            raise TypeError("a kernel that is not there in bfloat16")
        grid = functional.affine_grid(
            self.move.expand(len(x), 2, 3), list(x.shape), align_corners=False
        )
        answers: Tensor = self.full(functional.grid_sample(x, grid, align_corners=False).flatten(1))
        return answers


def classifier(network: nn.Module, channels: int) -> Classifier:
    card = ModelCard(
        input_shape=(channels, 12, 12),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        class_names=tuple("0123456789"),
        architecture="a stranger's",
    )
    return Classifier(network, card)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", [Flattening, Watchful])
def test_a_network_is_asked_and_trained_as_its_code_allows(
    network: type[Flattening | Watchful], channels: int
) -> None:
    torch.manual_seed(0)
    plain = network(channels)
    model = classifier(plain, channels)
    assert model.takes_bfloat16 == (network is Flattening)
    pixels = torch.randint(0, 256, (20, channels, 12, 12), dtype=torch.uint8)
    asked = pixels.float().div(255)
    expected = plain(asked)
    torch.testing.assert_close(logits_of(model, pixels), expected)
    fast = fast_logits(classifier(plain, channels), CPU)
    images = asked.contiguous(memory_format=torch.channels_last).requires_grad_()
    close = 0.05 if network is Flattening else 1e-5
    torch.testing.assert_close(fast(images), expected, rtol=close, atol=close)
    assert torch.autograd.grad(fast(images).sum(), images)[0].abs().max() > 0
    data = ImageSet(pixels, torch.arange(20) % 10, model.card.class_names)
    before = plain.full.weight.detach().clone()
    again = classifier(plain.requires_grad_(), channels)
    train(again, data, Recipe(epochs=1, batch_size=10), seed=0)
    assert not torch.equal(plain.full.weight, before)


def test_scripted_code_is_asked_as_it_allows() -> None:
    plain = Flattening(3)
    model = classifier(torch.jit.script(plain), 3)
    pixels = torch.randint(0, 256, (20, 3, 12, 12), dtype=torch.uint8)
    expected = plain(pixels.float().div(255))
    torch.testing.assert_close(logits_of(model, pixels), expected)
    torch.testing.assert_close(
        fast_logits(model, CPU)(pixels.float().div(255)), expected, rtol=0.05, atol=0.05
    )


def test_our_own_networks_take_the_fast_way(few: ImageSet) -> None:
    model = build_classifier("vgg", few, arguments={"width": 4, "stages": [1, 1]}, seed=0)
    assert model.layout is torch.channels_last and model.takes_bfloat16


def test_who_only_answers_is_not_asked_to_find_out() -> None:
    asked = []

    def answer(images: object) -> object:
        asked.append(images)
        raise AssertionError("every question may have its price")

    model = BlackBox(answer, classifier(Flattening(1), 1).card)  # type: ignore[arg-type]
    assert model.layout is torch.contiguous_format and not model.takes_bfloat16
    assert not asked


def test_finding_out_changes_nothing() -> None:
    model = classifier(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout()), 1)
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    assert model.layout is not None
    assert model.training and torch.equal(torch.get_rng_state(), drawn)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
        assert value.stride() == state[name].stride()
