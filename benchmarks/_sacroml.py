"""Membership inference of sacroml beside ours: one network of scikit-learn, 16 shadow models."""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molehunt.attacks import (
    LikelihoodRatio,
    LossThreshold,
    MembershipAttack,
    ShadowModels,
    Variance,
    measure_membership,
)
from molehunt.images import ImageSet, load_images
from molehunt.networks import Queried, wrap_estimator

_SHADOWS, _MEMBERS = 16, 600


def run() -> str:
    """Return a line an attack: the area under its curve, what it finds at 1 %, seconds."""
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415  heavy

    digits = load_images("digits")
    both = digits.train.take(torch.arange(2 * _MEMBERS))
    mine = both.take(torch.arange(_MEMBERS))
    network = MLPClassifier((32,), max_iter=300, random_state=0).fit(_rows(mine), _labels(mine))
    said = []
    for line in (*_ours(network, both), *_theirs(network, both)):
        print(f"  {line}", flush=True)
        said.append(line)
    return f"{len(said)} lines"


def _ours(network: Any, both: ImageSet) -> Iterator[str]:
    model = wrap_estimator(network, both.shape, class_names=both.class_names)
    started = time.perf_counter()
    shadows = ShadowModels.fit(network, both, _SHADOWS, seed=0)
    trained = time.perf_counter() - started
    ours: tuple[MembershipAttack, ...] = (
        LossThreshold(),
        LikelihoodRatio(shadows, online=False),
        LikelihoodRatio(shadows),
        LikelihoodRatio(shadows, variance=Variance.EXAMPLE),
    )
    for attack in ours:
        started = time.perf_counter()
        scores = attack.score(Queried(model, reveals=attack.needs), both.images, both.labels)
        seconds = time.perf_counter() - started + (trained if "lira" in attack.name else 0)
        own = ", spread of each image" if getattr(attack, "variance", "") == "example" else ""
        yield f"ours {attack.name}{own}: {_leaks(scores)}, {seconds:.1f} s"


def _theirs(network: Any, both: ImageSet) -> Iterator[str]:
    try:
        lira = importlib.import_module("sacroml.attacks.likelihood_attack").LIRAAttack
        target_of = importlib.import_module("sacroml.attacks.target").Target
    except ImportError as error:
        yield f"sacroml: not here ({error})"
        return
    logging.disable(logging.INFO)
    rows, labels = _rows(both), _labels(both)
    for mode in ("offline", "offline-carlini", "online-carlini"):
        with tempfile.TemporaryDirectory() as folder:
            here = Path.cwd()
            os.chdir(folder)  # it writes where it is
            try:
                target = target_of(
                    model=network,
                    dataset_name="digits",
                    X_train=rows[:_MEMBERS],
                    y_train=labels[:_MEMBERS],
                    X_test=rows[_MEMBERS:],
                    y_test=labels[_MEMBERS:],
                )
                attack = lira(
                    output_dir=folder,
                    write_report=False,
                    n_shadow_models=_SHADOWS,
                    mode=mode,
                    report_individual=True,
                )
                started = time.perf_counter()
                attack.attack(target)
                seconds = time.perf_counter() - started
            finally:
                os.chdir(here)
        scores = torch.tensor(attack.result["member_prob"], dtype=torch.float64)
        yield f"sacroml LiRA, {mode}: {_leaks(scores)}, {seconds:.1f} s"


def _leaks(scores: torch.Tensor) -> str:
    found = measure_membership(scores, torch.arange(len(scores)) < _MEMBERS)
    area, (low, high) = found.auc
    return f"AUC {area:.3f} [{low:.3f}, {high:.3f}] n={len(scores)}"


def _rows(images: ImageSet) -> np.ndarray[Any, np.dtype[np.float32]]:
    return images.pixels().flatten(1).numpy()


def _labels(images: ImageSet) -> np.ndarray[Any, np.dtype[np.int64]]:
    return images.labels.numpy()
