"""Training models: Molehunt's way against torchvision's data set in a data loader."""

from __future__ import annotations

import multiprocessing
import os
import time

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from molehunt.errors import DataNotFoundError
from molehunt.images import load_images
from molehunt.networks import build_classifier, build_network
from molehunt.training import Recipe, clean_accuracy, train

ARGUMENTS = {"width": 16, "stages": [1, 1, 1]}
RECIPE = Recipe(epochs=1, batch_size=128, lr=0.01)
MODELS = 2


def run() -> str:
    """Train two networks for a pass over MNIST each way, and compare seconds a model."""
    try:
        load_images("mnist")
    except DataNotFoundError as error:
        return f"skipped: {error}"
    plain_seconds, plain_accuracy = _in_turn()
    seconds, accuracy = _at_once()
    return (
        f"{plain_seconds / seconds:.1f}x (plain {plain_seconds:.1f} s a model at "
        f"{plain_accuracy:.2%}, Molehunt {seconds:.1f} s at {accuracy:.2%}; "
        f"{MODELS} models, 60,000 images, {os.cpu_count()} cores)"
    )


def _in_turn() -> tuple[float, float]:
    """The plain way: one model after the other, all cores for each, float32, contiguous."""
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    root = os.environ.get("MOLEHUNT_DATA", "data")
    train_set = datasets.MNIST(root, train=True, transform=transform)
    test_set = datasets.MNIST(root, train=False, transform=transform)
    accuracies = []
    started = time.perf_counter()
    for seed in range(MODELS):
        torch.manual_seed(seed)
        network = build_network("vgg", input_shape=(1, 28, 28), num_classes=10, arguments=ARGUMENTS)
        loader = DataLoader(
            train_set, RECIPE.batch_size, shuffle=True, drop_last=True, num_workers=2
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), RECIPE.lr, weight_decay=RECIPE.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, RECIPE.lr, total_steps=len(loader), pct_start=RECIPE.warmup
        )
        network.train()
        for images, labels in loader:
            loss = nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        accuracies.append(_plain_accuracy(network, DataLoader(test_set, 1000)))
    return (time.perf_counter() - started) / MODELS, sum(accuracies) / MODELS


def _plain_accuracy(network: nn.Module, loader: DataLoader) -> float:
    network.eval()
    with torch.no_grad():
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in loader)
    return right / len(loader.dataset)


def _at_once() -> tuple[float, float]:
    """Molehunt's way: a process a core, as a zoo is built; start-up is not counted."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count(), initializer=_start) as pool:
        pool.map(_warm, range(os.cpu_count() or 1))
        started = time.perf_counter()
        accuracies = pool.map(_train_one, range(MODELS), chunksize=1)
        seconds = (time.perf_counter() - started) / MODELS
    return seconds, sum(accuracies) / MODELS


def _start() -> None:
    torch.set_num_threads(1)
    _start.images = load_images("mnist")


def _warm(_: int) -> None:
    time.sleep(1)  # long enough that every process takes one


def _train_one(seed: int) -> float:
    images = _start.images
    model = build_classifier("vgg", images.train, arguments=ARGUMENTS, seed=seed)
    train(model, images.train, RECIPE, seed=seed)
    return clean_accuracy(model, images.test)
