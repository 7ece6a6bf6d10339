"""What each check without images measures on each model of the population."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from molehunt.backdoors import Treatment
from molehunt.detectors import Examination, ZooFreeDetector, new_detector
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt_studies._populations import zoo_name
from molehunt_studies.reference.plan import ReferencePlan

CHECKS = ("margin", "final-layer")


class ReadingTask(Task):
    """A model of the population; `kind` is that of its backdoor, None for a clean model."""

    zoo: str
    model: str
    images: str
    network: str
    kind: str | None
    success: float | None
    accuracy: float


class ReadingRecord(ReadingTask):
    """The score of each check, and its statistics of the classes, the largest first."""

    scores: dict[str, float] = Field(default_factory=dict)
    own_p_values: dict[str, float] = Field(default_factory=dict)
    statistics: dict[str, list[float]] = Field(default_factory=dict)

    def compared(self, check: str) -> float:
        """Return the number by which a check compares this model with others, as it ships."""
        detector = new_detector(check)
        assert isinstance(detector, ZooFreeDetector)
        statistics = np.asarray(self.statistics[check])
        found = Examination(self.scores[check], None, statistics, None)
        return float(f"{detector.compared(found):.4g}")


def reading_tasks(bench: Bench[ReferencePlan], _records: Records) -> list[ReadingTask]:
    """Return a reading of every model."""
    tasks = []
    for images, network, kind in bench.plan.cells():
        name = zoo_name(images, network, kind)
        for record in bench.zoo(name).records:
            backdoored = record.treatment is Treatment.BACKDOORED
            tasks.append(
                ReadingTask(
                    id=f"{name}/{record.id}",
                    zoo=name,
                    model=record.id,
                    images=images,
                    network=network,
                    kind=kind if backdoored else None,
                    success=record.attack_success if backdoored else None,
                    accuracy=record.clean_accuracy,
                )
            )
    return tasks


def read_model(task: ReadingTask, bench: Bench[ReferencePlan]) -> ReadingRecord:
    """Examine one model by every check, with the settings of a scan."""
    zoo = bench.zoo(task.zoo)
    model = zoo.models([each for each in zoo.records if each.id == task.model])[0]
    record = ReadingRecord(**dict(task))
    for name in CHECKS:
        detector = new_detector(name)
        assert isinstance(detector, ZooFreeDetector)
        found = detector.examine(model)
        record.scores[name] = found.score
        record.own_p_values[name] = found.p_value if found.p_value is not None else 1.0
        record.statistics[name] = sorted((float(v) for v in found.statistics), reverse=True)
    return record
