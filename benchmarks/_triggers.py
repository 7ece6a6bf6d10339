"""The pairwise trigger search: all pairs of a model in one batch against one at a time."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from benchmarks._litmus import PLAN
from molehunt.backdoors import Treatment
from molehunt.detectors import PairwiseTriggers
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.zoo import ModelCounts, Split, build_zoo


def run() -> str:
    """Search the 90 pairs of a backdoored model each way; compare seconds and least losses."""
    plan = PLAN.model_copy(update={"models": {Split.TEST: ModelCounts(pairs=1)}})
    with tempfile.TemporaryDirectory() as folder:
        zoo = build_zoo(plan, Path(folder) / "zoo", device="cpu", workers=1)
        (model,) = zoo.models(zoo.select(Split.TEST, Treatment.BACKDOORED))
        images = zoo.plan.images.load().test
    detector = PairwiseTriggers(images=images, size=plan.backdoors.size, device="cpu")
    detector.examine(model)  # start-up
    started = time.perf_counter()
    found = detector.examine(model)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    losses = _one_at_a_time(model, images, detector)
    plain_seconds = time.perf_counter() - started
    return (
        f"{plain_seconds / seconds:.1f}x (plain {plain_seconds:.1f} s to a least loss of "
        f"{min(losses):.3f}, Molehunt {seconds:.1f} s to {-found.score:.3f}; {len(losses)} pairs "
        f"of a digits model, {torch.get_num_threads()} of {os.cpu_count()} cores)"
    )


def _one_at_a_time(model: Classifier, images: ImageSet, like: PairwiseTriggers) -> list[float]:
    """The plain way, as the paper has it: one pair after the other, each for all its steps.

    The same images, steps, optimiser and schedule as `PairwiseTriggers`.
    """
    generator = torch.Generator().manual_seed(like.random_state)
    pixels = images.pixels()
    losses = []
    for source in range(images.num_classes):
        members = torch.nonzero(images.labels == source)[:, 0]
        order = members[torch.randperm(len(members), generator=generator)]
        shown = pixels[order[: like.images_per_class]]
        for target in range(images.num_classes):
            if target != source:
                losses.append(_one_pair(model, shown, target, like, generator))
    return losses


def _one_pair(
    model: Classifier,
    images: torch.Tensor,
    target: int,
    like: PairwiseTriggers,
    generator: torch.Generator,
) -> float:
    channels, height, width = images.shape[1:]
    size = like.size
    patch = torch.rand(channels, size, size, generator=generator, requires_grad=True)
    optimizer = torch.optim.Adam([patch], lr=like.lr)

    def loss_on(batch: torch.Tensor) -> torch.Tensor:
        stamped = batch.clone()
        for number in range(len(batch)):
            bottom, right = torch.randint(0, 2, (2,), generator=generator).tolist()
            row, column = bottom * (height - size), right * (width - size)
            stamped[number, :, row : row + size, column : column + size] = patch
        wanted = torch.full((len(batch),), target)
        return functional.cross_entropy(model(stamped), wanted)

    for step in range(like.steps):
        optimizer.param_groups[0]["lr"] = like.lr * (1 - step / like.steps)
        optimizer.zero_grad()
        chosen = torch.randperm(len(images), generator=generator)[: like.images_per_step]
        loss_on(images[chosen]).backward()
        optimizer.step()
        with torch.no_grad():
            patch.clamp_(0, 1)
    with torch.no_grad():
        return float(np.mean([float(loss_on(images)) for _ in range(2)]))
