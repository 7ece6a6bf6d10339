"""Training many small models: all at once against one after the other, on one device."""

from __future__ import annotations

import os
import time

import torch

from molehunt.backdoors import Backdoor, RandomPatch, SingleTarget, Treatment
from molehunt.images import load_images
from molehunt.networks import Classifier, build_classifier, pick_device
from molehunt.training import Recipe, clean_accuracy, train, train_many

ARGUMENTS = {"width": 16, "stages": [1, 1, 1]}
RECIPE = Recipe(epochs=4, batch_size=64, shift=1)
BACKDOOR = Backdoor(trigger=RandomPatch(size=5), label_map=SingleTarget(source=7, target=4))
ON_CPU, ON_CUDA = 4, 64


def run() -> str:
    """Train pairs of twins each way, and compare seconds a model."""
    device = pick_device()
    images = load_images("digits", size=28)
    count = ON_CUDA if device.type == "cuda" else ON_CPU
    sets = [
        BACKDOOR.poison(
            images.train, 1.0, treatment=treatment, generator=torch.Generator().manual_seed(at)
        )
        for at in range(count // 2)
        for treatment in (Treatment.BACKDOORED, Treatment.CLEAN)
    ]
    seeds = [at // 2 for at in range(count)]

    def models() -> list[Classifier]:
        return [
            build_classifier("vgg", images.train, arguments=ARGUMENTS, seed=seed) for seed in seeds
        ]

    # The first steps choose kernels and import for seconds, once a process; not counted.
    short = RECIPE.model_copy(update={"epochs": 0.1})
    train(models()[0], sets[0], short, seed=0, device=device)
    train_many(models(), sets, [short] * count, seeds=seeds, device=device)
    alone, together = models(), models()
    started = time.perf_counter()
    for model, data, seed in zip(alone, sets, seeds, strict=True):
        train(model, data, RECIPE, seed=seed, device=device)
    plain_seconds = (time.perf_counter() - started) / count
    started = time.perf_counter()
    train_many(together, sets, [RECIPE] * count, seeds=seeds, device=device)
    seconds = (time.perf_counter() - started) / count
    plain, ours = (
        sum(clean_accuracy(model, images.test) for model in group) / count
        for group in (alone, together)
    )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return (
        f"{plain_seconds / seconds:.1f}x (one at a time {plain_seconds:.2f} s a model at "
        f"{plain:.2%}, {count} at once {seconds:.2f} s at {ours:.2%}; "
        f"{len(sets[0])} images, {name}, {os.cpu_count()} cores)"
    )
