"""Fixtures: real digits, and one tiny zoo of real trained models a test process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from molehunt.backdoors import RandomPatches
from molehunt.detectors import LitmusPatterns, evaluate, fit_on_zoo, save_detector
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier
from molehunt.training import Recipe, train
from molehunt.zoo import (
    BackdoorPlan,
    ImagePlan,
    ModelCounts,
    NetworkPlan,
    Split,
    Zoo,
    ZooPlan,
    build_zoo,
)

torch.set_num_threads(1)


def pytest_configure() -> None:
    # A shell lets what runs in its background ignore Ctrl-C, and commands under test with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files of tests that take minutes come first, so that no process waits for another's at the end.
_LONG = ("zoo", "studies", "study", "subjects")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(_LONG)))


def tiny_plan(**changes: object) -> ZooPlan:
    """A zoo of small networks that train in a fraction of a second each."""
    settings = {
        "name": "tiny",
        "seed": 3,
        "images": ImagePlan(source="digits", size=12),
        "network": NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]}),
        "recipe": Recipe(epochs=3, batch_size=64),
        "backdoors": BackdoorPlan(trigger=RandomPatches(size=4, count=8), rate=1.0),
        "models": {
            Split.FIT: ModelCounts(pairs=4),
            Split.CALIBRATION: ModelCounts(pairs=1, clean=19),
            Split.TEST: ModelCounts(pairs=3, placebo=2),
        },
    }
    return ZooPlan(**{**settings, **changes})


@pytest.fixture(scope="session")
def digits() -> TrainTest:
    return load_images("digits", size=12)


@pytest.fixture(scope="session")
def few(digits: TrainTest) -> ImageSet:
    return digits.test.take(torch.arange(100))


def fit_digits(digits: TrainTest, name: str, arguments: object, seed: int) -> Classifier:
    model = build_classifier(name, digits.train, arguments=arguments, seed=seed)
    train(model, digits.train, Recipe(epochs=6, batch_size=64), seed=seed)
    return model.freeze()


@pytest.fixture(scope="session")
def models(digits: TrainTest) -> dict[str, Classifier]:
    """Two networks that differ in their seed, and one of another kind."""
    lenet = {"channels": [4, 8], "hidden": [16]}
    return {
        "a": fit_digits(digits, "lenet", lenet, 0),
        "b": fit_digits(digits, "lenet", lenet, 1),
        "mlp": fit_digits(digits, "mlp", {"hidden": [32]}, 0),
    }


@pytest.fixture(scope="session")
def model(models: dict[str, Classifier]) -> Classifier:
    return models["a"]


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return build_zoo(tiny_plan(), tmp_path_factory.mktemp("zoo"), workers=1)


@pytest.fixture(scope="session")
def detector_file(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    detector = fit_on_zoo(LitmusPatterns(n_patterns=3, epochs=3), zoo)
    path = tmp_path_factory.mktemp("detector") / "litmus.safetensors"
    save_detector(detector, path, zoo=zoo.summary(), evaluation=evaluate(detector, zoo))
    return path


@pytest.fixture(scope="session")
def data_root() -> Path:
    root = os.environ.get("MOLEHUNT_DATA")
    if not root:
        pytest.skip("MOLEHUNT_DATA is not set: no real MNIST, GTSRB or CIFAR-10 here")
    return Path(root)
