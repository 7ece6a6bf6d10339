"""Fitting litmus patterns: stacked models against one at a time, each loaded from disk."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from molehunt.detectors import LitmusPatterns
from molehunt.networks import load_model
from molehunt.study import DEMO_PLAN
from molehunt.training import one_cycle
from molehunt.zoo import ModelCounts, Split, build_zoo

EPOCHS = 10
PLAN = DEMO_PLAN.model_copy(update={"models": {Split.FIT: ModelCounts(pairs=20)}})


def run() -> str:
    """Fit on 40 models each way for as many passes, and compare seconds and loss."""
    with tempfile.TemporaryDirectory() as folder:
        zoo = build_zoo(PLAN, Path(folder) / "zoo", device="cpu")
        models, truth = zoo.labelled(Split.FIT)
        detector = LitmusPatterns(epochs=EPOCHS, device="cpu")
        # The first vectorised call imports for seconds, once a process; it is not counted.
        LitmusPatterns(epochs=1, device="cpu").fit(models[:4], [0, 1, 0, 1])
        started = time.perf_counter()
        detector.fit(models, truth)
        seconds = time.perf_counter() - started
        started = time.perf_counter()
        loss = _one_at_a_time(models.paths, np.array(truth), detector)
        plain_seconds = time.perf_counter() - started
    return (
        f"{plain_seconds / seconds:.1f}x (plain {plain_seconds:.1f} s to a loss of {loss:.3f}, "
        f"Molehunt {seconds:.1f} s to {detector.losses_[-1]:.3f}; {len(truth)} models, "
        f"{detector.n_patterns} patterns, {EPOCHS} passes, {os.cpu_count()} cores)"
    )


def _one_at_a_time(paths: list[Path], truth: np.ndarray, like: LitmusPatterns) -> float:
    """The plain way, as published code does it: load a model, feed it, back-propagate.

    The same objective, batches, optimiser and schedule as `LitmusPatterns`.
    """
    rng = np.random.default_rng(like.random_state)
    shape = (like.n_patterns, *like.input_shape_)
    patterns = torch.as_tensor(rng.random(shape), dtype=torch.float32)
    with torch.no_grad():
        start = torch.stack([_answers(path, patterns) for path in paths])
    centre, scale = start.mean(0), 1 / (start.std(0) + 1e-2)
    patterns.requires_grad_()
    weights = torch.zeros_like(centre, requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam(
        [{"params": [patterns], "lr": like.lr}, {"params": [weights, bias], "lr": like.head_lr}]
    )
    steps = EPOCHS * -(-len(paths) // like.models_per_step)
    schedule = one_cycle(optimizer, [like.lr, like.head_lr], steps, warmup=0.1)
    total = 0.0
    for _ in range(EPOCHS):
        total = 0.0
        order = rng.permutation(len(paths))
        for first in range(0, len(paths), like.models_per_step):
            batch = order[first : first + like.models_per_step]
            optimizer.zero_grad()
            for position in batch:
                features = (_answers(paths[position], patterns) - centre) * scale
                target = torch.tensor(float(truth[position]))
                loss = functional.binary_cross_entropy_with_logits(
                    features @ weights + bias, target
                )
                (loss / len(batch)).backward()
                total += float(loss.detach())
            (like.head_decay * weights.square().sum()).backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                patterns.clamp_(0, 1)
    return total / len(paths)


def _answers(path: Path, patterns: torch.Tensor) -> torch.Tensor:
    return load_model(path)(patterns).log_softmax(1).flatten()
