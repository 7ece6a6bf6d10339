"""Models of a study's zoos, examined by detectors that need no zoo."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, Field

from molehunt.backdoors import Treatment
from molehunt.detectors import ZooFreeDetector, conformal_p_values, new_detector
from molehunt.images import ImageSet
from molehunt.networks import load_model
from molehunt.resumable import Task
from molehunt.study import Bench
from molehunt.zoo import Split

RATE = 0.05  # of false alarms
CLEAN_IMAGES = 300  # that are given to detectors that ask for some
P = TypeVar("P", bound=BaseModel)


class ExaminationTask(Task):
    """One detector, with settings other than its own where they are given, on one model."""

    zoo: str
    detector: str
    model: str
    settings: dict[str, Any] = Field(default_factory=dict)


class ExaminationRecord(ExaminationTask):
    """What came of it.

    `p_value` is by the detector's own null, None where it has none; `true_target` is the
    class that the backdoor leads to, None for clean models and maps to many classes.
    """

    split: Split
    treatment: Treatment
    score: float
    p_value: float | None
    target: int
    true_target: int | None
    seconds: float


@dataclass(frozen=True)
class ZooBench(Bench[P]):
    """Zoos, and the clean images that a user of a scanner would have."""

    def clean_images(self, zoo: str) -> ImageSet:
        """Return test images, on which no model was trained and no trigger lies."""
        if zoo not in self._images:
            plan = self.zoo(zoo).plan
            generator = torch.Generator().manual_seed(plan.seed)
            test = plan.images.load(self.data_root).test
            self._images[zoo] = test.sample(CLEAN_IMAGES, generator)
        return self._images[zoo]

    @cached_property
    def _images(self) -> dict[str, ImageSet]:
        return {}


def examination_tasks(
    bench: ZooBench[Any],
    detectors: Mapping[str, Iterable[str]],
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[ExaminationTask]:
    """Return an examination of each clean calibration model and of all test models.

    Parameters
    ----------
    bench : ZooBench
        Its zoos are finished.
    detectors : mapping
        Names of detectors without a zoo, for each zoo.
    settings : mapping, optional
        Of detectors by name.
    """
    return [
        ExaminationTask(
            id=f"{name}/{detector}/{record.id}",
            zoo=name,
            detector=detector,
            model=record.id,
            settings=dict((settings or {}).get(detector, {})),
        )
        for name, chosen in detectors.items()
        for detector in chosen
        for record in [
            *bench.zoo(name).select(Split.CALIBRATION, Treatment.CLEAN),
            *bench.zoo(name).select(Split.TEST, Treatment.CLEAN, Treatment.BACKDOORED),
        ]
    ]


def examine(task: ExaminationTask, bench: ZooBench[Any]) -> ExaminationRecord:
    """Examine one model with one detector, as a scan would."""
    zoo = bench.zoo(task.zoo)
    record = next(item for item in zoo.records if item.id == task.model)
    detector = new_detector(task.detector, **task.settings)
    assert isinstance(detector, ZooFreeDetector)
    if detector.needs_images:
        detector.set_params(images=bench.clean_images(task.zoo))
    started = time.perf_counter()
    found = detector.examine(load_model(zoo.path_of(record)))
    seconds = time.perf_counter() - started
    backdoored = record.treatment is Treatment.BACKDOORED
    return ExaminationRecord(
        **dict(task),
        split=record.split,
        treatment=record.treatment,
        score=found.score,
        p_value=found.p_value,
        target=found.target,
        true_target=getattr(record.backdoor.label_map, "target", None) if backdoored else None,
        seconds=round(seconds, 3),
    )


def scores_of(records: Sequence[ExaminationRecord]) -> tuple[list[float], list[float]]:
    """Return the scores of clean and of backdoored test models."""
    tests = [item for item in records if item.split is Split.TEST]
    return (
        [item.score for item in tests if item.treatment is Treatment.CLEAN],
        [item.score for item in tests if item.treatment is Treatment.BACKDOORED],
    )


def rates_of(
    clean: Sequence[float], backdoored: Sequence[float], reference: Sequence[float]
) -> dict[str, float]:
    """Return what a verdict at 5 % does, by p-values against clean calibration models."""
    return {
        "false_alarm_rate": share_flagged(clean, reference),
        "detection_rate": share_flagged(backdoored, reference),
    }


def share_flagged(scores: Sequence[float], reference: Sequence[float]) -> float:
    """Return the share of models whose p-value against clean ones is at most 5 %."""
    return float(np.mean(conformal_p_values(scores, reference) <= RATE))
