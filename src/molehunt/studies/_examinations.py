"""Models of a study's zoos, examined by detectors that need no zoo."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from molehunt.backdoors import Treatment
from molehunt.detectors import Need, ZooFreeDetector, new_detector
from molehunt.files import make_folder
from molehunt.images import ImageSet
from molehunt.networks import load_model
from molehunt.resumable import Task, Work, build_missing, one_thread
from molehunt.study._zoos import ZOOS_FOLDER
from molehunt.zoo import Split, Zoo, ZooPlan

INDEX_FILE = "examinations.jsonl"
CLEAN_IMAGES = 300  # that are given to detectors that ask for some


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
class Bench:
    """What the examinations need: zoos and clean images by zoo."""

    zoos: Mapping[str, Zoo]
    images: Mapping[str, ImageSet]


def open_bench(plans: Mapping[str, ZooPlan], folder: Path, data_root: str | Path | None) -> Bench:
    """Open the finished zoos, and take the clean images that a user of a scanner would have.

    They are test images, which no model was trained on; the zoos' triggers are on none.
    """
    zoos = {name: Zoo(folder / ZOOS_FOLDER / name) for name in plans}
    images = {}
    for name, plan in plans.items():
        test = plan.images.load(data_root).test
        images[name] = test.sample(CLEAN_IMAGES, torch.Generator().manual_seed(plan.seed))
    return Bench(zoos, images)


def examine_all(
    plans: Mapping[str, ZooPlan],
    folder: Path,
    detectors: Mapping[str, tuple[str, ...]],
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    workers: int,
    data_root: str | Path | None,
    on_record: Callable[[ExaminationRecord, int, int], None] | None = None,
) -> list[ExaminationRecord]:
    """Examine clean calibration models and all test models; go on where it stopped.

    Parameters
    ----------
    plans : mapping
        The zoos by name, finished in ``folder/zoos/NAME``.
    folder : Path
    detectors : mapping
        Names of detectors without a zoo, for each zoo.
    settings : mapping, optional
        Of detectors by name.
    workers : int
        Processes, each with one thread.
    data_root : path, optional
    on_record : callable, optional
        Called with each new record, the number of finished ones and their total.

    Raises
    ------
    OutputError, BuildInterruptedError
        As `molehunt.resumable.build_missing`.
    """
    make_folder(folder)
    bench = open_bench(plans, folder, data_root)
    tasks = [
        ExaminationTask(
            id=f"{name}/{detector}/{record.id}",
            zoo=name,
            detector=detector,
            model=record.id,
            settings=dict((settings or {}).get(detector, {})),
        )
        for name, zoo in bench.zoos.items()
        for detector in detectors[name]
        for record in [
            *zoo.select(Split.CALIBRATION, Treatment.CLEAN),
            *zoo.select(Split.TEST, Treatment.CLEAN, Treatment.BACKDOORED),
        ]
    ]
    with one_thread():
        work = Work(examine_one, ExaminationRecord, open_bench, (dict(plans), folder, data_root))
        return build_missing(
            tasks,
            folder / INDEX_FILE,
            work,
            context=bench,
            workers=workers,
            on_record=on_record,
        )


def examine_one(task: ExaminationTask, bench: Bench) -> ExaminationRecord:
    """Examine one model with one detector, as a scan would."""
    zoo = bench.zoos[task.zoo]
    record = next(item for item in zoo.records if item.id == task.model)
    detector = new_detector(task.detector, **task.settings)
    assert isinstance(detector, ZooFreeDetector)
    if Need.CLEAN_IMAGES in detector.needs:
        detector.set_params(images=bench.images[task.zoo])
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
