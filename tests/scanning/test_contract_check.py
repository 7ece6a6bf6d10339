"""A wrong contract is told from a weak model, and the mistake is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from molehunt.findings import Status, Verdict
from molehunt.images import ImageSet
from molehunt.networks import Classifier, ModelCard
from molehunt.scanning import check_contract

CLASSES = 12


def images(count: int = 360) -> ImageSet:
    """Patches of twelve colours and brightnesses at twelve places, with noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % CLASSES
    colours = torch.rand(CLASSES, 3, 1, 1, generator=torch.Generator().manual_seed(5))
    pixels = colours[labels].expand(-1, -1, 8, 8).clone()
    rows, columns = labels % 4, labels // 4
    for n in range(count):
        pixels[n, :, 2 * rows[n] : 2 * rows[n] + 2, 2 * columns[n] : 2 * columns[n] + 2] = 1
    pixels += 0.25 * torch.randn(pixels.shape, generator=generator)
    names = tuple(str(number) for number in range(CLASSES))
    return ImageSet((pixels.clamp(0, 1) * 255).byte(), labels, names)


def card(**changes: object) -> ModelCard:
    settings = {
        "architecture": "x",
        "input_shape": (3, 8, 8),
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "class_names": tuple(str(number) for number in range(CLASSES)),
        **changes,
    }
    return ModelCard(**settings)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, CLASSES))
    data, model = images(), Classifier(net, card())
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(data.pixels()), data.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def test_the_right_contract_passes_with_its_accuracy(network: nn.Module) -> None:
    finding = check_contract(Classifier(network, card()).freeze(), images())
    assert finding.status is Status.CLEAR
    assert "accuracy" in finding.message


WRONG = {
    "channel order": ({"channel_order": "bgr"}, "RGB"),
    "value range": ({"value_range": (0.0, 255.0)}, "std"),
    "mean and std": ({"mean": (-1.0,) * 3, "std": (1.5,) * 3}, "std"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_mistake_is_named_with_both_accuracies(name: str, network: nn.Module) -> None:
    changes, mistake = WRONG[name]
    finding = check_contract(Classifier(network, card(**changes)).freeze(), images())
    assert finding.status is Status.FOUND and finding.verdict is Verdict.INCONCLUSIVE
    assert mistake in finding.message and "as stated" in finding.message


@pytest.mark.parametrize("inverse", [False, True])
def test_classes_in_the_order_of_text_are_recognised(network: nn.Module, inverse: bool) -> None:
    order = torch.tensor(sorted(range(CLASSES), key=str))
    order = order.argsort() if inverse else order

    class Reordered(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return network(x)[:, order]

    finding = check_contract(Classifier(Reordered(), card()).freeze(), images())
    assert finding.status is Status.FOUND and finding.verdict is Verdict.INCONCLUSIVE
    assert "order of their numbers as text" in finding.message


def test_a_model_that_guesses_is_not_excused(network: nn.Module) -> None:
    torch.manual_seed(3)
    guesses = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
    finding = check_contract(Classifier(guesses, card()).freeze(), images())
    assert finding.status is Status.INCONCLUSIVE


def test_a_try_leaves_the_model_as_it_was(network: nn.Module) -> None:
    model = Classifier(network, card(channel_order="bgr")).freeze()
    before = model.mean.clone(), model.std.clone()
    check_contract(model, images())
    assert torch.equal(model.mean, before[0]) and torch.equal(model.std, before[1])
