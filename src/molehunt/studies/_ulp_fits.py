"""The study of Universal Litmus Patterns: detectors that learn from a zoo, fitted and scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors import Treatment
from molehunt.detectors import Detector, new_detector, save_detector, shuffled_labels
from molehunt.errors import UnsuitableSubjectError
from molehunt.files import make_folder
from molehunt.resumable import Task, Work, build_missing
from molehunt.studies._ulp_plan import BASE, UlpPlan
from molehunt.zoo import Models, Record, Split, Zoo

ZOOS_FOLDER = "zoos"
INDEX_FILE = "fits.jsonl"
DETECTORS_FOLDER = "detectors"
PATTERNS = (1, 5, 10)  # the paper's M
SHUFFLES = 5
MIXED = "litmus-10 mixed"
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


class Scores(BaseModel):
    """Scores of the test models of a zoo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clean: list[float]
    backdoored: list[float]
    placebo: list[float]


class FitRecord(FitTask):
    """What the fitted detector scored.

    `scores` lacks the zoos whose models it does not fit; `calibration` are the scores of
    the base zoo's clean calibration models; `seconds_per_model` includes reading the file.
    """

    models: int
    scores: dict[str, Scores]
    calibration: list[float]
    fit_seconds: float
    seconds_per_model: float


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


@dataclass(frozen=True)
class _Bench:
    zoos: Mapping[str, Zoo]
    folder: Path


def _open_bench(names: tuple[str, ...], folder: Path) -> _Bench:
    return _Bench({name: Zoo(folder / ZOOS_FOLDER / name) for name in names}, folder)


def fit_all(
    plan: UlpPlan,
    folder: Path,
    *,
    workers: int,
    on_record: Callable[[FitRecord, int, int], None] | None = None,
) -> list[FitRecord]:
    """Fit and score what is missing; the zoos lie finished in ``folder/zoos``.

    Raises
    ------
    OutputError, BuildInterruptedError
        As `molehunt.resumable.build_missing`.
    """
    make_folder(folder / DETECTORS_FOLDER)
    names = tuple(plan.zoos)
    return build_missing(
        fit_tasks(plan),
        folder / INDEX_FILE,
        Work(fit_one, FitRecord, _open_bench, (names, folder)),
        context=_open_bench(names, folder),
        workers=workers,
        on_record=on_record,
    )


def detector_file(folder: Path, task: str) -> Path:
    """Return where the detector of a task is kept."""
    return folder / DETECTORS_FOLDER / f"{task.replace(': ', '-').replace(' ', '-')}.safetensors"


def fit_one(task: FitTask, bench: _Bench) -> FitRecord:
    """Fit one detector, keep its file, and score the test models of every zoo that it fits."""
    base = bench.zoos[BASE]
    models, truth = _fitting_part(task, bench.zoos)
    if task.shuffle is not None:
        truth = shuffled_labels(truth, np.random.default_rng(task.shuffle))
    detector = new_detector(task.detector, **task.settings)
    started = time.perf_counter()
    detector.fit(models, truth)
    fitted = time.perf_counter()
    detector.calibrate(*base.labelled(Split.CALIBRATION))
    save_detector(
        detector,
        detector_file(bench.folder, task.id),
        zoo=base.summary(),
    )
    judging = time.perf_counter()
    scores = {BASE: _scores(detector, base)}
    seconds = (time.perf_counter() - judging) / len(base.select(Split.TEST))
    for name, zoo in bench.zoos.items():
        if name != BASE:
            try:
                scores[name] = _scores(detector, zoo)
            except UnsuitableSubjectError:
                continue
    return FitRecord(
        **dict(task),
        models=len(models),
        scores=scores,
        calibration=detector.calibration_scores_.tolist(),
        fit_seconds=round(fitted - started, 2),
        seconds_per_model=round(seconds, 5),
    )


def _fitting_part(task: FitTask, zoos: Mapping[str, Zoo]) -> tuple[Models, np.ndarray]:
    paths, truth = [], []
    for name in task.zoos:
        records = zoos[name].select(Split.FIT, Treatment.CLEAN, Treatment.BACKDOORED)
        first = sorted({record.pair for record in records})[: task.pairs]
        chosen = [record for record in records if record.pair in set(first)]
        paths += [zoos[name].path_of(record) for record in chosen]
        truth += [int(record.treatment is Treatment.BACKDOORED) for record in chosen]
    return Models(paths), np.array(truth)


def _scores(detector: Detector, zoo: Zoo) -> Scores:
    def of(treatment: Treatment) -> list[float]:
        records: list[Record] = zoo.select(Split.TEST, treatment)
        found: list[float] = (
            detector.decision_function(zoo.models(records)).tolist() if records else []
        )
        return found

    return Scores(
        clean=of(Treatment.CLEAN),
        backdoored=of(Treatment.BACKDOORED),
        placebo=of(Treatment.PLACEBO),
    )
