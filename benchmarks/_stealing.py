"""Copies of a network by ART's two thefts and by ours: same victim, pool, copy and questions."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from molehunt.attacks import QueryAndTrain
from molehunt.images import load_images
from molehunt.networks import Classifier, Queried, Reveals, build_classifier
from molehunt.rates import rate_interval
from molehunt.training import Recipe, train

VGG = {"width": 16, "stages": [1, 1, 1]}
QUERIES, EPOCHS, BATCH = 2000, 40, 64


def run() -> str:
    """Return agreement and seconds of each theft on MNIST."""
    if "MOLEHUNT_DATA" not in os.environ:
        return "needs MOLEHUNT_DATA with MNIST"
    try:
        art = importlib.import_module("art.attacks.extraction")
    except ImportError:
        return (
            "needs adversarial-robustness-toolbox, multiprocess, tqdm and pandas: pip install them"
        )
    images = load_images("mnist", data_root=Path(os.environ["MOLEHUNT_DATA"]))
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(0))
    mine, pool = images.train.take(order[:30_000]), images.train.images[order[30_000:]]
    test = images.test.images[:5000]
    victim = build_classifier("vgg", mine, arguments=VGG, seed=0)
    train(victim, mine, Recipe(epochs=3, batch_size=128), seed=0)
    target = Queried(victim)

    def ours(reveals: Reveals) -> Classifier:
        recipe = Recipe(epochs=EPOCHS, batch_size=BATCH, shift=2)
        theft = QueryAndTrain(QUERIES, "vgg", VGG, pool=pool, recipe=recipe)
        return theft.steal(Queried(victim, reveals=reveals)).model

    def theirs(name: str, probabilities: bool) -> nn.Module:
        thieved = wrapped(build_classifier("vgg", mine, arguments=VGG, seed=1))
        kind, more = getattr(art, name), {}
        if name == "KnockoffNets":
            more = {"sampling_strategy": "random", "verbose": False}
        attack = kind(
            wrapped(victim, nn.Softmax(1)), batch_size_fit=BATCH, batch_size_query=500,
            nb_epochs=EPOCHS, nb_stolen=QUERIES, use_probability=probabilities, **more,
        )  # fmt: skip
        attack.extract(pool.numpy().astype(np.float32) / 255, thieved_classifier=thieved)
        return thieved.model.eval()  # type: ignore[no-any-return]

    thefts: dict[str, Callable[[], nn.Module]] = {
        "ours, labels": lambda: ours(Reveals.LABELS),
        "ours, confidences": lambda: ours(Reveals.CONFIDENCES),
        "ART CopycatCNN, labels": lambda: theirs("CopycatCNN", False),
        "ART CopycatCNN, confidences": lambda: theirs("CopycatCNN", True),
        "ART KnockoffNets, labels": lambda: theirs("KnockoffNets", False),
        "ART KnockoffNets, confidences": lambda: theirs("KnockoffNets", True),
    }
    said = []
    names = target.judge(test)
    for name, steal in thefts.items():
        started = time.perf_counter()
        copy = steal()
        seconds = time.perf_counter() - started
        with torch.no_grad():
            same = int((copy(test.float() / 255).argmax(1) == names).sum())
        low, high = rate_interval(same, len(test))
        said.append(f"{name} {same / len(test):.3f} [{low:.3f}, {high:.3f}] in {seconds:.0f} s")
    return f"agreement after {QUERIES} questions about MNIST: " + ", ".join(said)


def wrapped(model: Classifier, last: nn.Module | None = None) -> Any:
    """Return a model as ART takes it; its thefts take a victim's answers for probabilities."""
    estimators = importlib.import_module("art.estimators.classification")
    return estimators.PyTorchClassifier(
        model=model.train() if last is None else nn.Sequential(model, last),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        input_shape=model.card.input_shape,
        nb_classes=model.card.num_classes,
        clip_values=(0, 1),
        device_type="cpu",
    )
