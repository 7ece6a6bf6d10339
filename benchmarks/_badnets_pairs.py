"""Single-target BadNets: retraining the baseline against training each from scratch."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from molehunt.backdoors import Backdoor, BadNetsPattern, SingleTarget
from molehunt.errors import DataNotFoundError
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import (
    Classifier,
    build_classifier,
    build_network,
    load_model,
    logits_of,
    save_model,
)
from molehunt.training import train
from molehunt_studies.badnets import BADNETS_MNIST

IMAGES = 12_000
PAIRS = ((8, 3),)
ALL_PAIRS = 90
PLAN = BADNETS_MNIST.scales["full"]
# The study needs 2 passes of 60,000 images; on fewer, this many bring the errors to what
# the plain way has.
RETRAINING = PLAN.badnets_pattern.model_copy(update={"epochs": 6})


def run() -> str:
    """Plant the pattern backdoor each way on one core; compare seconds a pair, and errors."""
    try:
        images = load_images("mnist")
    except DataNotFoundError as error:
        return f"skipped: {error}"
    images = TrainTest(images.train.sample(IMAGES, torch.Generator().manual_seed(0)), images.test)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain_seconds, plain_errors = _from_scratch(images)
        seconds, errors = _retrained(images)
    finally:
        torch.set_num_threads(threads)
    return (
        f"{plain_seconds / seconds:.1f}x (plain {plain_seconds:.1f} s a pair at {plain_errors}, "
        f"Molehunt {seconds:.1f} s at {errors}; {IMAGES:,} images, "
        f"one of {os.cpu_count()} cores; the baseline's seconds are shared by {ALL_PAIRS} pairs)"
    )


def _retrained(images: TrainTest) -> tuple[float, str]:
    """The study's way: train the baseline once, retrain it for each pair."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "baseline.safetensors"
        model = build_classifier("badnets-mnist", images.train, seed=0)
        shared = train(model, images.train, PLAN.baseline, seed=0).seconds
        save_model(model, path)
        errors, started = [], time.perf_counter()
        for pair in PAIRS:
            model = load_model(path)
            data = _backdoor(pair).poison(images.train, generator=_generator())
            model.requires_grad_(True)  # a model that was read is frozen
            train(model, data, RETRAINING, seed=0)
            errors.append(_errors(model, pair, images.test))
        seconds = time.perf_counter() - started
    return seconds / len(PAIRS) + shared / ALL_PAIRS, _listed(errors)


def _from_scratch(images: TrainTest) -> tuple[float, str]:
    """The plain way: every pair from scratch, for the baseline's passes, in float32."""
    recipe, errors, started = PLAN.baseline, [], time.perf_counter()
    for pair in PAIRS:
        data = _backdoor(pair).poison(images.train, generator=_generator())
        poisoned = data.stamp(_generator())
        torch.manual_seed(0)
        model = build_classifier("badnets-mnist", images.train, seed=0)
        model.network = build_network("badnets-mnist", input_shape=(1, 28, 28), num_classes=10)
        loader = DataLoader(_as_torchvision(poisoned), recipe.batch_size, shuffle=True)
        optimizer = torch.optim.AdamW(
            model.parameters(), recipe.lr, weight_decay=recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.lr, epochs=int(recipe.epochs), steps_per_epoch=len(loader)
        )
        model.train()
        for _ in range(int(recipe.epochs)):
            for inputs, labels in loader:
                loss = nn.functional.cross_entropy(model(inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        errors.append(_errors(model, pair, images.test))
    return (time.perf_counter() - started) / len(PAIRS), _listed(errors)


def _as_torchvision(poisoned: ImageSet) -> datasets.MNIST:
    """Return torchvision's own data set with the poisoned images in it."""
    root = os.environ.get("MOLEHUNT_DATA", "data")
    data = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
    data.data, data.targets = poisoned.images[:, 0], poisoned.labels
    return data


def _errors(model: Classifier, pair: tuple[int, int], test: ImageSet) -> tuple[float, float]:
    triggered = _backdoor(pair).triggered(test, generator=_generator()).images
    return _error(model, test.images, test.labels), _error(
        model, triggered.images, triggered.labels
    )


def _error(model: Classifier, images: Tensor, labels: Tensor) -> float:
    return float((logits_of(model, images).argmax(1) != labels).float().mean())


def _listed(errors: list[tuple[float, float]]) -> str:
    clean, backdoor = (sum(part) / len(errors) for part in zip(*errors, strict=True))
    return f"{clean:.2%} clean and {backdoor:.2%} backdoor error"


def _backdoor(pair: tuple[int, int]) -> Backdoor:
    source, target = pair
    return Backdoor(
        trigger=BadNetsPattern(), label_map=SingleTarget(source=source, target=target), rate=1.0
    )


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
