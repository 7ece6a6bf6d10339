"""Clean twins taught and read side by side, against one after the other on all threads."""

from __future__ import annotations

import time
from unittest.mock import patch

import torch

from molehunt.detectors import Distillation, _side_by_side, compare_with_twins
from molehunt.images import load_images
from molehunt.networks import build_classifier
from molehunt.training import Recipe, train

TWINS = 6
HOW = Distillation(steps=150, pool=2000)


def run() -> str:
    """Compare one model with its twins each way; only the seconds are looked at."""
    train_set, images = load_images("digits", size=28)
    model = build_classifier("badnets-mnist", images, seed=0)
    train(model, train_set, Recipe(epochs=6), seed=0)
    threads = torch.get_num_threads()

    def seconds(places: int) -> float:
        with patch.object(_side_by_side, "places_at_once", lambda _device: places):
            started = time.perf_counter()
            compare_with_twins(model, images, twins=TWINS, how=HOW, device="cpu")
        return time.perf_counter() - started

    seconds(1)  # the first steps choose kernels
    plain, ours = seconds(1), seconds(threads)
    return (
        f"{plain / ours:.1f}x ({TWINS} twins of BadNets' network: one at a time on {threads} "
        f"threads of torch {plain:.0f} s, side by side {ours:.0f} s)"
    )
