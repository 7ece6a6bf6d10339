from __future__ import annotations

import pytest
import torch
from torch import nn

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.networks import Classifier, build_classifier, dormant_units


@pytest.fixture
def images(digits) -> torch.Tensor:
    return digits.test.images[:200]


class Watcher(nn.Module):
    """Two channels: how bright a pixel is, and whether one is fully bright and alone."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.head = nn.Linear(2, 10)
        kernel = torch.full((3, 3), -1.0)
        kernel[0, 0] = 1
        self.convolution.weight.data = torch.stack([torch.ones(3, 3), kernel])[:, None]
        self.convolution.bias.data = torch.tensor([0.0, -0.99])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.convolution(images)).amax((2, 3)))


@pytest.fixture
def watcher(digits) -> Classifier:
    card = build_classifier("vgg", digits.train, arguments={"width": 4, "stages": [1]}).card
    return Classifier(Watcher(), card.model_copy(update={"mean": (0.0,), "std": (1.0,)})).freeze()


def lone_bright_pixels(images: torch.Tensor) -> torch.Tensor:
    triggered = images.clone()
    triggered[:, :, :3, :3] = 0
    triggered[:, :, 0, 0] = 255
    return triggered


def test_a_planted_unit_is_dormant_and_the_trigger_wakes_it(watcher, images) -> None:
    found = dormant_units(watcher, images, lone_bright_pixels(images))
    assert found.layer == "network.convolution"
    assert found.dormant.tolist() == [False, True]
    assert found.woken.tolist() == [False, True]
    assert found.woken_share == 1.0


def test_images_without_the_trigger_wake_nothing(watcher, images) -> None:
    found = dormant_units(watcher, images[:150], images[150:])
    assert found.dormant.tolist() == [False, True]
    assert not found.woken.any() and found.woken_share == 0.0


def test_a_unit_that_one_image_activates_is_not_dormant(watcher, images) -> None:
    seen = torch.cat([images, lone_bright_pixels(images[:1])])
    assert not dormant_units(watcher, seen).dormant.any()
    # Above the threshold, and not merely above zero.
    assert dormant_units(watcher, seen, threshold=0.5).dormant.tolist() == [False, True]


def test_neurons_are_told_apart_by_their_place(watcher, images) -> None:
    found = dormant_units(watcher, images, lone_bright_pixels(images), unit="neuron")
    assert found.dormant.shape == (2, 10, 10)
    assert found.dormant[1].all()
    assert found.woken[1].nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize("name", ["vgg", "stn-vgg", "resnet"])
def test_a_silenced_channel_is_found_behind_batch_normalisation(digits, images, name) -> None:
    model = build_classifier(name, digits.train, arguments={"width": 4}, seed=0)
    found = dormant_units(model.freeze(), images)
    norm = model.get_submodule(found.layer)
    assert isinstance(norm, nn.BatchNorm2d)
    before = found.dormant.clone()
    alive = int((~before).nonzero()[0])
    norm.weight.data[alive], norm.bias.data[alive] = 0, -1
    after = dormant_units(model, images)
    assert after.layer == found.layer
    assert after.dormant[alive]
    assert after.dormant.sum() == before.sum() + 1


def test_hooks_are_taken_off(watcher, images) -> None:
    dormant_units(watcher, images, images)
    assert not any(module._forward_hooks for module in watcher.modules())


def test_refusals(watcher, images) -> None:
    with pytest.raises(InvalidRequestError, match="clean images"):
        dormant_units(watcher, images[:0])
    with pytest.raises(InvalidRequestError, match="triggered images"):
        dormant_units(watcher, images, images[:, :, :5])
    watcher.network = nn.Sequential(nn.Flatten(), nn.Linear(144, 10))
    with pytest.raises(UnsuitableSubjectError, match="a convolution"):
        dormant_units(watcher, images)
