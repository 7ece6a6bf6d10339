"""What a study does before it measures: stages of tasks, each done once and noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from molehunt.files import make_folder
from molehunt.progress import Progress
from molehunt.resumable import Task, Work, build_missing, one_thread
from molehunt.study._zoos import ZOOS_FOLDER
from molehunt.zoo import Zoo, ZooPlan, build_zoo

P = TypeVar("P", bound=BaseModel)
B = TypeVar("B", bound="Bench[Any]")
Records = Mapping[str, Sequence[Any]]  # of each stage that is done, by its name


@dataclass(frozen=True)
class Bench(Generic[P]):
    """What every task gets. Each process makes its own.

    A study adds what its tasks share (images, scenes) as a `functools.cached_property`.

    Parameters
    ----------
    plan : BaseModel
    folder : Path
        Of this run.
    data_root : path, optional
        As in `molehunt.images.load_images`.
    """

    plan: P
    folder: Path
    data_root: str | Path | None = None

    def model_path(self, name: str) -> Path:
        """Return the file of a model of the study."""
        return self.folder / "models" / f"{name}.safetensors"

    def zoo(self, name: str) -> Zoo:
        """Return a zoo that a `ZooStage` has built; it is opened once."""
        if name not in self._zoos:
            self._zoos[name] = Zoo(self.folder / ZOOS_FOLDER / name)
        return self._zoos[name]

    @cached_property
    def _zoos(self) -> dict[str, Zoo]:
        return {}


@dataclass(frozen=True)
class Stage(Generic[B]):
    """Tasks of one kind, one line of an index each.

    Parameters
    ----------
    name : str
        Under which later stages find the records.
    tasks : callable
        From the bench and the records of earlier stages to the tasks.
    do : callable
        From a task and the bench to its record; a function of a module.
    record : type
        Of the records.
    index : str, optional
        The file of records; ``NAME.jsonl`` when not given.
    alone : bool
        Whether it is done in one process, as for a model that later ones start from.
    into : str, optional
        A folder that the tasks write into, below the study's.
    """

    name: str
    tasks: Callable[[B, Records], Sequence[Task]]
    do: Callable[[Any, B], Task]
    record: type[Task]
    index: str = ""
    alone: bool = False
    into: str = ""

    def run(self, bench: B, records: Records, workers: int, progress: Progress) -> Sequence[Any]:
        """Do what is missing; return the records of all tasks."""
        tasks = self.tasks(bench, records)
        make_folder(bench.folder / self.into)
        arguments = (bench.plan, bench.folder, bench.data_root)
        work = Work(self.do, self.record, type(bench), arguments)
        with one_thread():
            return build_missing(
                tasks,
                bench.folder / (self.index or f"{self.name}.jsonl"),
                work,
                context=bench,
                workers=1 if self.alone else workers,
                progress=progress,
            )


@dataclass(frozen=True)
class ZooStage(Generic[B]):
    """Zoos, in ``zoos/NAME`` of the study's folder.

    Parameters
    ----------
    name : str
    plans : callable
        From the bench to the zoos' plans by name.
    device : str
        As in `molehunt.zoo.build_zoo`.
    """

    name: str
    plans: Callable[[B], Mapping[str, ZooPlan]]
    device: str = "auto"

    def run(self, bench: B, records: Records, workers: int, progress: Progress) -> Sequence[Zoo]:
        """Build what is missing of every zoo."""
        plans = self.plans(bench)
        total = sum(plan.total for plan in plans.values())
        zoos: list[Zoo] = []

        def show(number: int, of: int) -> None:
            progress(sum(zoo.plan.total for zoo in zoos) + number, max(total, of))

        for name, plan in plans.items():
            zoos.append(
                build_zoo(
                    plan,
                    bench.folder / ZOOS_FOLDER / name,
                    workers=workers,
                    device=self.device,
                    data_root=bench.data_root,
                    progress=show,
                )
            )
        return zoos
