"""AutoAttack by Molehunt and by its library alone: the ratio of processor times, in pairs."""

from __future__ import annotations

import os
import statistics
import time

import torch
from pyautoattack import AutoAttack

from molehunt.attacks import Norm, evade, new_attack
from molehunt.images import load_images
from molehunt.networks import Queried, Reveals, build_classifier
from molehunt.training import Recipe, train

IMAGES, EPSILON, PAIRS = 20, 0.1, 3
NETWORK = {"width": 16, "stages": [1, 1, 1]}


def run() -> str:
    """Attack the same digits three times each way, one after the other."""
    digits = load_images("digits", size=28)
    model = build_classifier("vgg", digits.train, arguments=NETWORK, seed=0)
    train(model, digits.train, Recipe(epochs=3), seed=0)
    few = digits.test.take(torch.arange(IMAGES))
    attack = new_attack("autoattack", norm=Norm.LINF, epsilon=EPSILON)
    evade(Queried(model, reveals=Reveals.WEIGHTS), few.take(torch.arange(1)), attack)  # start-up
    ratios, left = [], (0, 0)
    for seed in range(PAIRS):
        started = time.process_time()
        result = evade(Queried(model, reveals=Reveals.WEIGHTS), few, attack, seed=seed)
        ours = time.process_time() - started
        started = time.process_time()
        alone = AutoAttack(model, norm="Linf", eps=EPSILON, seed=seed)
        changed, _ = alone.run_standard_evaluation(few.pixels(), few.labels, batch_size=IMAGES)
        ratios.append(ours / (time.process_time() - started))
        with torch.no_grad():
            by_library = int((model(changed).argmax(1) == few.labels).sum())
        left = (int((result.predictions == few.labels).sum()), by_library)
    return (
        f"{statistics.median(ratios):.2f}x the library alone "
        f"({', '.join(f'{ratio:.2f}' for ratio in ratios)}; {IMAGES} images, {left[0]} left, "
        f"by the library {left[1]}; {os.cpu_count()} cores)"
    )
