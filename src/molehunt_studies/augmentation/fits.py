"""Litmus patterns that are fitted with and without an augmentation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from molehunt.backdoors import Treatment
from molehunt.detectors import LitmusPatterns, auc_with_interval
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.zoo import Split, Zoo, is_backdoored
from molehunt_studies.augmentation.plan import OTHER, OWN, PLAIN, AugmentationPlan

Scores = dict[str, list[float]]  # of clean and backdoored models, pair by pair


class FitTask(Task):
    """A fit on the first pairs of a drawn order, with a kind's settings."""

    kind: str
    settings: dict[str, Any]
    models: int
    seed: int


class ChoiceRecord(FitTask):
    """Its scores of the calibration models."""

    calibration: Scores
    seconds: float

    @property
    def auc(self) -> float:
        """Of the calibration models."""
        clean, backdoored = (self.calibration[each] for each in _SIDES)
        return auc_with_interval(clean, backdoored).auc


class FitRecord(FitTask):
    """Its scores of the test models of both zoos."""

    scores: dict[str, Scores]
    seconds: float


_SIDES = (Treatment.CLEAN.value, Treatment.BACKDOORED.value)


def choice_tasks(bench: Bench[AugmentationPlan], _records: Records) -> list[FitTask]:
    """Return a fit for each setting of each kind and each seed."""
    plan = bench.plan
    return [
        _task(kind, settings, plan.chosen_at, seed, f"{kind}-{number}")
        for kind, all_settings in plan.kinds.items()
        for number, settings in enumerate(all_settings)
        for seed in range(plan.seeds)
    ]


def choose(records: Sequence[ChoiceRecord]) -> dict[str, dict[str, Any]]:
    """Return the settings of each kind with the largest mean AUC of calibration models."""
    found: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(each.kind for each in records):
        own = [each for each in records if each.kind == kind]
        tried = {repr(each.settings): each.settings for each in own}
        means = {
            text: float(np.mean([each.auc for each in own if repr(each.settings) == text]))
            for text in tried
        }
        found[kind] = tried[max(means, key=lambda text: means[text])]
    return found


def fit_tasks(bench: Bench[AugmentationPlan], records: Records) -> list[FitTask]:
    """Return a fit for each kind with its chosen settings, each size and each seed."""
    chosen = {PLAIN: {}, **choose(records["choices"])}
    return [
        _task(kind, settings, size, seed, kind)
        for size in bench.plan.sizes
        for seed in range(bench.plan.seeds)
        for kind, settings in chosen.items()
    ]


def _task(kind: str, settings: dict[str, Any], models: int, seed: int, name: str) -> FitTask:
    return FitTask(
        id=f"{name}-{models}-{seed}", kind=kind, settings=settings, models=models, seed=seed
    )


def try_setting(task: FitTask, bench: Bench[AugmentationPlan]) -> ChoiceRecord:
    """Fit, and score the calibration models."""
    detector, seconds = _fit(task, bench)
    scores = _scores(detector, bench.zoo(OWN), Split.CALIBRATION)
    return ChoiceRecord(**dict(task), calibration=scores, seconds=seconds)


def fit_and_test(task: FitTask, bench: Bench[AugmentationPlan]) -> FitRecord:
    """Fit, and score the test models of both zoos."""
    detector, seconds = _fit(task, bench)
    scores = {name: _scores(detector, bench.zoo(name), Split.TEST) for name in (OWN, OTHER)}
    return FitRecord(**dict(task), scores=scores, seconds=seconds)


def _fit(task: FitTask, bench: Bench[AugmentationPlan]) -> tuple[LitmusPatterns, float]:
    zoo = bench.zoo(OWN)
    pairs = sorted({record.pair for record in zoo.select(Split.FIT)})
    # One order for all sizes and kinds of a seed: larger fits have the models of smaller ones.
    drawn = np.random.default_rng(task.seed).permutation(pairs)[: task.models // 2].tolist()
    records = [record for record in zoo.select(Split.FIT) if record.pair in drawn]
    settings = {**bench.plan.litmus, **task.settings, "random_state": task.seed}
    started = time.process_time()
    detector = LitmusPatterns(**settings)
    detector.fit(zoo.models(records), [int(is_backdoored(record) or 0) for record in records])
    return detector, round(time.process_time() - started, 2)


def _scores(detector: LitmusPatterns, zoo: Zoo, split: Split) -> Scores:
    found: Scores = {}
    for side in _SIDES:
        records = sorted(zoo.select(split, side), key=lambda record: record.pair)
        found[side] = detector.decision_function(zoo.models(records)).tolist()
    return found
