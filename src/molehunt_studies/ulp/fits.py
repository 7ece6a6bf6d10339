"""The study of Universal Litmus Patterns: detectors that learn from a zoo, fitted and scored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from molehunt.backdoors import Treatment
from molehunt.detectors import load_detector, new_detector, save_detector, shuffled_labels
from molehunt.errors import UnsuitableSubjectError
from molehunt.resumable import Task
from molehunt.study import Bench
from molehunt.zoo import Models, Split, Zoo
from molehunt_studies.ulp.plan import BASE, UlpPlan

PATTERNS = (1, 5, 10)  # the paper's M
SHUFFLES = 5
MIXED = "litmus-10 mixed"
# What is compared where the test models change, by the words of the report.
COMPARED: Mapping[str, str] = {
    "litmus": "litmus-10",
    "litmus, mixed": MIXED,
    "noise": "noise-10",
    "statistics": "statistics",
}
# Each differs in one thing from litmus-10 on the same fitting models.
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "raw logits": {"features": "logits"},
    "max pooling": {"pooling": "max"},
    "mean pooling": {"pooling": "mean"},
    "total variation 0.1": {"total_variation": 0.1},
    "total variation 1": {"total_variation": 1.0},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.3": {"dropout": 0.3},
    "jitter 0.1": {"jitter": 0.1},
    "20 patterns": {"n_patterns": 20},
}


class FitTask(Task):
    """A detector to fit.

    Parameters
    ----------
    detector : str
        Its name.
    settings : mapping
    zoos : tuple of str
        It learns from the fitting parts of these.
    pairs : int, optional
        Only from the first so many pairs of each.
    shuffle : int, optional
        Its labels are shuffled with this seed.
    """

    detector: str
    settings: dict[str, Any] = Field(default_factory=dict)
    zoos: tuple[str, ...] = (BASE,)
    pairs: int | None = None
    shuffle: int | None = None


class FitRecord(FitTask):
    """What came of it; `models` were learned from, `calibration` is the score of clean ones."""

    models: int
    calibration: list[float]
    fit_seconds: float


class ScoreTask(Task):
    """A fitted detector on the test models of a zoo."""

    fit: str
    zoo: str


class ScoreRecord(ScoreTask):
    """The scores of test models by treatment; none where the detector does not fit them.

    `seconds_per_model` includes reading the file.
    """

    clean: list[float] = Field(default_factory=list)
    backdoored: list[float] = Field(default_factory=list)
    placebo: list[float] = Field(default_factory=list)
    seconds_per_model: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the detector could judge these models."""
        return self.seconds_per_model is not None


def fit_tasks(plan: UlpPlan) -> list[FitTask]:
    """Return what is fitted: the paper's table first, then controls, then what explains it."""
    table = [
        FitTask(id=f"{name}-{count}", detector=name, settings={"n_patterns": count})
        for name in ("litmus", "noise")
        for count in PATTERNS[::-1]
    ]
    ten = {"n_patterns": PATTERNS[-1]}
    shuffled = [
        FitTask(id=f"litmus-10 shuffled {seed}", detector="litmus", settings=ten, shuffle=seed)
        for seed in range(SHUFFLES)
    ]
    ablations = [
        FitTask(
            id=f"ablation: {name}",
            detector="litmus",
            settings={**ten, **settings},
            pairs=plan.ablation_pairs,
        )
        for name, settings in ABLATIONS.items()
    ]
    curve = [
        FitTask(id=f"curve: {pairs}", detector="litmus", settings=ten, pairs=pairs)
        for pairs in plan.curve
        if pairs < plan.base.models[Split.FIT].pairs
    ]
    mixed = [
        FitTask(id=MIXED, detector="litmus", settings=ten, zoos=(BASE, *plan.variants))
    ] * bool(plan.variants)
    statistics = FitTask(id="statistics", detector="statistics")
    return [*table, statistics, *shuffled, *mixed, *curve, *ablations]


def score_tasks(plan: UlpPlan) -> list[ScoreTask]:
    """Return what is scored: every detector on the base zoo, those compared on all zoos."""
    return [
        ScoreTask(id=f"{task.id} on {zoo}", fit=task.id, zoo=zoo)
        for task in fit_tasks(plan)
        for zoo in (plan.zoos if task.id in COMPARED.values() else [BASE])
    ]


def detector_file(bench: Bench[UlpPlan], task: str) -> Path:
    """Return where the detector of a task is kept."""
    return bench.folder / "detectors" / f"{task.replace(': ', '-').replace(' ', '-')}.safetensors"


def fit_one(task: FitTask, bench: Bench[UlpPlan]) -> FitRecord:
    """Fit one detector, calibrate it on the base zoo, and keep its file."""
    base = bench.zoo(BASE)
    models, truth = _fitting_part([bench.zoo(name) for name in task.zoos], task.pairs)
    if task.shuffle is not None:
        truth = shuffled_labels(truth, np.random.default_rng(task.shuffle))
    detector = new_detector(task.detector, **task.settings)
    started = time.perf_counter()
    detector.fit(models, truth)
    seconds = time.perf_counter() - started
    detector.calibrate(*base.labelled(Split.CALIBRATION))
    save_detector(detector, detector_file(bench, task.id), zoo=base.summary())
    return FitRecord(
        **dict(task),
        models=len(models),
        calibration=detector.calibration_scores_.tolist(),
        fit_seconds=round(seconds, 2),
    )


def score_one(task: ScoreTask, bench: Bench[UlpPlan]) -> ScoreRecord:
    """Score the test models of one zoo with one detector."""
    detector, _ = load_detector(detector_file(bench, task.fit))
    zoo = bench.zoo(task.zoo)
    scores: dict[str, list[float]] = {}
    started = time.perf_counter()
    for treatment in Treatment:
        records = zoo.select(Split.TEST, treatment)
        try:
            found = detector.decision_function(zoo.models(records)) if records else np.array([])
        except UnsuitableSubjectError:
            return ScoreRecord(**dict(task))
        scores[treatment.value] = found.tolist()
    seconds = (time.perf_counter() - started) / len(zoo.select(Split.TEST))
    return ScoreRecord(**dict(task), **scores, seconds_per_model=round(seconds, 5))


def _fitting_part(zoos: Sequence[Zoo], pairs: int | None) -> tuple[Models, NDArray[np.int64]]:
    """Return the models that are learned from, and 1 for backdoored ones."""
    paths, truth = [], []
    for zoo in zoos:
        records = zoo.select(Split.FIT, Treatment.CLEAN, Treatment.BACKDOORED)
        first = set(sorted({record.pair for record in records})[:pairs])
        chosen = [record for record in records if record.pair in first]
        paths += [zoo.path_of(record) for record in chosen]
        truth += [int(record.treatment is Treatment.BACKDOORED) for record in chosen]
    return Models(paths), np.array(truth)
