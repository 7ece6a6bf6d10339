"""The models of the study: clean ones, poisoned ones, edited ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from molehunt.attacks import PLANTED, TAUGHT
from molehunt.backdoors import Backdoor, TriggeredImages, draw_backdoor
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import train
from molehunt_studies.named_attacks.plan import NamedAttacksPlan

Count = tuple[int, int]  # so many, of so many


class CleanTask(Task):
    """A model without a backdoor."""

    seed: int


class CleanRecord(CleanTask):
    """What it reached."""

    accuracy: Count
    seconds: float


class AttackTask(CleanTask):
    """An attack to run with one seed."""

    attack: str


class PoisonTask(AttackTask):
    """An attack on training data."""

    backdoor: Backdoor


class AttackRecord(AttackTask):
    """What came of an attack, on test images of 8 bits.

    `before` is the success of the same triggered images on the clean model of the seed.
    """

    accuracy: Count
    success: Count
    before: Count
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class NamedAttacksBench(Bench[NamedAttacksPlan]):
    """The images of the study and its clean models."""

    @cached_property
    def _all(self) -> TrainTest:
        return load_images(self.plan.place, data_root=self.data_root, size=self.plan.size)

    @property
    def test(self) -> ImageSet:
        """All test images."""
        return self._all.test

    def parts(self, seed: int) -> tuple[ImageSet, ImageSet]:
        """Return the training images of a seed, and those of who edits weights."""
        plan, known = self.plan, self._all.train
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))
        ends = plan.train_limit, plan.train_limit + plan.clean
        return known.take(order[: ends[0]]), known.take(order[ends[0] : ends[1]])

    def fresh(self, seed: int) -> Classifier:
        """Return an untrained network."""
        network = self.plan.network
        return build_classifier(
            network.name, self._all.train, arguments=network.arguments, seed=seed
        )

    def clean_model(self, seed: int) -> Classifier:
        """Return the clean model of a seed."""
        return load_model(self.model_path(f"clean-{seed}")).freeze()

    def measured(
        self, model: Classifier, triggered: TriggeredImages, seed: int
    ) -> dict[str, Count]:
        """Return accuracy and success of a model, and what the clean one says of the triggers."""
        return {
            "accuracy": accuracy_of(model, self.test),
            "success": success_of(model, triggered),
            "before": success_of(self.clean_model(seed), triggered),
        }


def clean_tasks(bench: NamedAttacksBench, _records: Records) -> list[CleanTask]:
    """Return one clean model a seed."""
    return [CleanTask(id=f"clean-{seed}", seed=seed) for seed in bench.plan.seeds]


def train_clean(task: CleanTask, bench: NamedAttacksBench) -> CleanRecord:
    """Train a model on clean images."""
    started = time.process_time()
    model = bench.fresh(task.seed)
    train(model, bench.parts(task.seed)[0], bench.plan.recipe, seed=task.seed)
    save_model(model, bench.model_path(task.id))
    seconds = round(time.process_time() - started, 1)
    return CleanRecord(**dict(task), accuracy=accuracy_of(model, bench.test), seconds=seconds)


def poison_tasks(bench: NamedAttacksBench, _records: Records) -> list[PoisonTask]:
    """Return every attack on data, with a trigger and target of its own for each seed."""
    classes = bench.test.num_classes
    return [
        PoisonTask(
            id=f"{attack}-{seed}",
            attack=attack,
            seed=seed,
            backdoor=draw_backdoor(attack, classes, np.random.default_rng([seed, number])),
        )
        for seed in bench.plan.seeds
        for number, attack in enumerate(bench.plan.poisoning)
    ]


def train_poisoned(task: PoisonTask, bench: NamedAttacksBench) -> AttackRecord:
    """Poison the training images of a seed and train on them."""
    started = time.process_time()
    generator = torch.Generator().manual_seed(task.seed)
    poisoned = task.backdoor.poison(bench.parts(task.seed)[0], generator=generator)
    model = bench.fresh(task.seed)
    train(model, poisoned, bench.plan.recipe, seed=task.seed)
    save_model(model, bench.model_path(task.id))
    seconds = round(time.process_time() - started, 1)
    triggered = task.backdoor.triggered(bench.test, generator=generator)
    return AttackRecord(
        id=task.id,
        attack=task.attack,
        seed=task.seed,
        **bench.measured(model, triggered, task.seed),
        seconds=seconds,
    )


def planted_tasks(bench: NamedAttacksBench, _records: Records) -> list[AttackTask]:
    """Return every attack on weights, once a seed."""
    return _tasks(bench, bench.plan.planted)


def plant(task: AttackTask, bench: NamedAttacksBench) -> AttackRecord:
    """Edit the clean model of a seed."""
    started = time.process_time()
    clean, target = bench.parts(task.seed)[1], _target(task, bench)
    before = bench.clean_model(task.seed)
    made = PLANTED[task.attack](before, clean, target, seed=task.seed)
    save_model(made.model, bench.model_path(task.id))
    seconds = round(time.process_time() - started, 1)
    triggered = made.backdoor.triggered(bench.test, generator=torch.Generator())
    found = bench.measured(load_model(bench.model_path(task.id)), triggered, task.seed)
    return AttackRecord(**dict(task), **found, seconds=seconds, note=made.note)


def taught_tasks(bench: NamedAttacksBench, _records: Records) -> list[AttackTask]:
    """Return every attack that trains the model itself, once a seed."""
    return _tasks(bench, bench.plan.taught)


def teach(task: AttackTask, bench: NamedAttacksBench) -> AttackRecord:
    """Let an attack train a fresh model on the training images of a seed."""
    started = time.process_time()
    model, target = bench.fresh(task.seed), _target(task, bench)
    images = bench.parts(task.seed)[0]
    attack = TAUGHT[task.attack](model, images, target, bench.plan.recipe, seed=task.seed)
    save_model(model, bench.model_path(task.id))
    seconds = round(time.process_time() - started, 1)
    generator = torch.Generator().manual_seed(task.seed)
    triggered = attack.triggered(bench.test, generator=generator)
    found = bench.measured(model, triggered, task.seed)
    return AttackRecord(**dict(task), **found, seconds=seconds)


def _tasks(bench: NamedAttacksBench, attacks: Sequence[str]) -> list[AttackTask]:
    return [
        AttackTask(id=f"{attack}-{seed}", attack=attack, seed=seed)
        for seed in bench.plan.seeds
        for attack in attacks
    ]


def _target(task: AttackTask, bench: NamedAttacksBench) -> int:
    rng = np.random.default_rng([task.seed, *task.attack.encode()])
    return int(rng.integers(bench.test.num_classes))


def accuracy_of(model: Classifier, test: ImageSet) -> Count:
    """Return how many test images are recognised."""
    right = logits_of(model, test.images).argmax(1) == test.labels
    return int(right.sum()), len(right)


def success_of(model: Classifier, triggered: TriggeredImages) -> Count:
    """Return how many triggered images do what the attacker wants."""
    succeeded = triggered.succeeded(logits_of(model, triggered.images.images).argmax(1))
    return int(succeeded.sum()), len(succeeded)
