"""One point that poisons a support vector machine: against ART's `PoisoningAttackSVM`.

Same draws of the study `svm-poisoning`, same starts, one thread, processor time; the error is that
of the same plain machine, trained with the point that each gives. ART is run with each of two
step lengths: that of the examples around it, 0.1, and ten times that. It is no dependency: without
it the benchmark says so.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.svm import SVC

from molehunt.attacks import SvmPoisoning
from molehunt.errors import DataNotFoundError
from molehunt_studies.svm_poisoning import SVM_POISONING
from molehunt_studies.svm_poisoning.draws import Draw, SvmBench

PLAN = SVM_POISONING.scales["full"]
PAIR, DRAWS, STEPS, MOVES = (7, 1), 5, (0.1, 1.0), 100


def run() -> str:
    """Make one point each way on each draw; compare seconds and error."""
    if importlib.util.find_spec("art") is None:
        return "skipped: ART is not installed (pip install adversarial-robustness-toolbox)"
    bench = SvmBench(PLAN, Path(), os.environ.get("MOLEHUNT_DATA"))
    try:
        test, truth = bench.test(PAIR)
    except DataNotFoundError as error:
        return f"skipped: {error}"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tasks = [task for task in PLAN.tasks("linear") if task.pair == PAIR]
    ours, theirs = [], {step: [] for step in STEPS}
    try:
        for task in tasks[:DRAWS]:
            draw = bench.draw(task)

            def error(point: np.ndarray, draw: Draw = draw) -> float:
                points, labels = np.vstack([draw.train, point]), np.append(draw.labels, 1)
                machine = SVC(kernel="linear", C=PLAN.C).fit(points, labels)
                return float((machine.predict(test) != truth).mean())

            ours.append(_timed(_molehunt, draw, error))
            for step in STEPS:
                theirs[step].append(_timed(_art, draw, error, step))
    finally:
        torch.set_num_threads(threads)
    seconds, wrong = np.mean(ours, axis=0)
    means = {step: np.mean(found, axis=0) for step, found in theirs.items()}
    said = ", ".join(
        f"step {step}: {mean[0]:.1f} s to {mean[1]:.1%}" for step, mean in means.items()
    )
    quickest = min(mean[0] for mean in means.values())
    return (
        f"{quickest / seconds:.0f}x ART at its quicker step (Molehunt {seconds:.2f} s a point to "
        f"an error of {wrong:.1%}; ART {said}; {len(ours)} draws of {PAIR[0]} v {PAIR[1]}, "
        f"processor time, {os.cpu_count()} cores)"
    )


def _timed(make, draw: Draw, error, *settings) -> tuple[float, float]:
    started = time.process_time()
    point = make(draw, *settings)
    return time.process_time() - started, error(point)


def _molehunt(draw: Draw) -> np.ndarray:
    poison = SvmPoisoning(C=PLAN.C, steps=MOVES).run(
        draw.train, draw.labels, draw.validation, draw.validation_labels,
        starts=draw.starts[:1], label=1,
    )  # fmt: skip
    return poison.points[0]


def _art(draw: Draw, step: float) -> np.ndarray:
    from art.attacks.poisoning import PoisoningAttackSVM  # noqa: PLC0415
    from art.estimators.classification.scikitlearn import ScikitlearnSVC  # noqa: PLC0415

    machine = SVC(kernel="linear", C=PLAN.C, probability=True, random_state=0)
    victim = ScikitlearnSVC(model=machine, clip_values=(0, 1))
    labels, others = (
        np.eye(2)[(signs > 0).astype(int)] for signs in (draw.labels, draw.validation_labels)
    )
    victim.fit(draw.train, labels)
    attack = PoisoningAttackSVM(
        victim, step, 1.0, draw.train, labels, draw.validation, others, MOVES, verbose=False
    )
    # It draws from the global generator, to keep a matrix invertible.
    state = np.random.get_state()
    np.random.seed(0)
    try:
        points, _ = attack.poison(draw.starts[:1].copy(), y=np.array([[0.0, 1.0]]))
    finally:
        np.random.set_state(state)
    return np.round(points[0] * 255) / 255
