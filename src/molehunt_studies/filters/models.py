"""Models that were trained on poisoned images, and what filters and repairs do to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from molehunt.backdoors import Backdoor, TrainingSet, TriggeredImages, draw_backdoor
from molehunt.defences import DATA_FILTERS, REPAIRS, Repaired, filter_images
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.progress import silent
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import clean_accuracy, train
from molehunt_studies.filters.plan import FiltersPlan

Count = tuple[int, int]  # so many, of so many


class ModelTask(Task):
    """A model to train on images that an attack poisoned."""

    attack: str
    seed: int
    backdoor: Backdoor


class ModelRecord(ModelTask):
    """What came of it."""

    accuracy: float
    success: Count


class DefenceTask(ModelTask):
    """A filter or a repair to run on the model that is called `model`."""

    model: str
    name: str


class FilterRecord(DefenceTask):
    """Poisoned images that a filter removed, clean ones that it did, and what it says."""

    recall: Count
    false_alarms: Count
    found: bool
    seconds: float


class RepairRecord(DefenceTask):
    """Accuracy and attack success after a repair."""

    accuracy: float
    success: Count
    seconds: float


@dataclass(frozen=True)
class FiltersBench(Bench[FiltersPlan]):
    """The images of the study and its models."""

    @cached_property
    def images(self) -> TrainTest:
        """Training images, and test images that the defender does not have."""
        train_images, test = self._all
        limit = self.plan.train_limit
        if limit is not None:
            generator = torch.Generator().manual_seed(self.plan.seed)
            train_images = train_images.sample(limit, generator)
        return TrainTest(train_images, test.take(~self._known))

    @cached_property
    def clean(self) -> ImageSet:
        """Return the images that the defender knows."""
        return self._all.test.take(self._known)

    def model(self, name: str) -> Classifier:
        """Return a trained model."""
        return load_model(self.model_path(name)).freeze()

    def poisoned(self, task: ModelTask) -> TrainingSet:
        """Return what a model is trained on, the same for every call."""
        generator = torch.Generator().manual_seed(task.seed)
        poisoned = task.backdoor.poison(self.images.train, generator=generator)
        return TrainingSet(poisoned.stamp(generator), poisoned.stamps)

    def attacked(self, task: ModelTask) -> TriggeredImages:
        """Return what attack success is measured on."""
        generator = torch.Generator().manual_seed(task.seed)
        return task.backdoor.triggered(self.images.test, generator=generator)

    @cached_property
    def _all(self) -> TrainTest:
        return load_images(self.plan.place, data_root=self.data_root, size=self.plan.size)

    @cached_property
    def _known(self) -> torch.Tensor:
        count = len(self._all.test)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.plan.seed))
        return torch.isin(torch.arange(count), order[: self.plan.clean])


def model_tasks(bench: FiltersBench, _records: Records) -> list[ModelTask]:
    """Return every attack's models."""
    plan = bench.plan
    rng = np.random.default_rng(plan.seed)
    classes = bench.images.train.num_classes
    return [
        ModelTask(
            id=f"{attack}-{draw}",
            attack=attack,
            seed=plan.seed + draw,
            backdoor=draw_backdoor(attack, classes, rng),
        )
        for attack in plan.attacks
        for draw in range(plan.draws)
    ]


def train_model(task: ModelTask, bench: FiltersBench) -> ModelRecord:
    """Train a model on poisoned images and save it."""
    plan = bench.plan
    images = bench.poisoned(task).images
    model = build_classifier("resnet", images, arguments=plan.arguments, seed=task.seed)
    train(model, images, plan.recipe, seed=task.seed)
    save_model(model, bench.model_path(task.id))
    return ModelRecord(
        **dict(task),
        accuracy=clean_accuracy(model, bench.images.test),
        success=_success(model, bench.attacked(task)),
    )


def filter_tasks(bench: FiltersBench, records: Records) -> list[DefenceTask]:
    """Return each filter on each model."""
    return _tasks(records, bench.plan.filters)


def repair_tasks(bench: FiltersBench, records: Records) -> list[DefenceTask]:
    """Return each repair of each model."""
    return _tasks(records, bench.plan.repairs)


def filter_set(task: DefenceTask, bench: FiltersBench) -> FilterRecord:
    """Filter the set that a model was trained on; cover images count neither way."""
    plan = bench.plan
    trained_on = bench.poisoned(task)
    started = time.process_time()
    found = filter_images(
        DATA_FILTERS[task.name](**plan.filters[task.name]),
        bench.model(task.model),
        trained_on.images,
        bench.clean,
        max_false_alarms=plan.max_false_alarms,
    )
    seconds = time.process_time() - started
    poison, clean = trained_on.stamps[0].mask.numpy(), ~trained_on.stamped.numpy()
    return FilterRecord(
        **dict(task),
        recall=(int(found.removed[poison].sum()), int(poison.sum())),
        false_alarms=(int(found.removed[clean].sum()), int(clean.sum())),
        found=bool(found.suspicious()),
        seconds=round(seconds, 1),
    )


def repair_model(task: DefenceTask, bench: FiltersBench) -> RepairRecord:
    """Repair a model and attack it again."""
    started = time.process_time()
    repair: Callable[..., Repaired] = REPAIRS[task.name]  # each has settings of its own
    settings = bench.plan.repairs[task.name]
    done = repair(
        bench.model(task.model), bench.clean, seed=bench.plan.seed, progress=silent, **settings
    )
    seconds = time.process_time() - started
    return RepairRecord(
        **dict(task),
        accuracy=clean_accuracy(done.model, bench.images.test),
        success=_success(done.model, bench.attacked(task)),
        seconds=round(seconds, 1),
    )


def _tasks(records: Records, names: Iterable[str]) -> list[DefenceTask]:
    made: Sequence[ModelRecord] = records["models"]
    return [
        DefenceTask(**{**_task_of(model), "id": f"{model.id}/{name}"}, model=model.id, name=name)
        for model in made
        for name in names
    ]


def _task_of(model: ModelRecord) -> dict[str, Any]:
    """Return what a model was made from."""
    return {name: getattr(model, name) for name in ModelTask.model_fields}


def _success(model: Classifier, attacked: TriggeredImages) -> Count:
    succeeded = attacked.succeeded(logits_of(model, attacked.images.images).argmax(1))
    return int(succeeded.sum()), len(succeeded)
