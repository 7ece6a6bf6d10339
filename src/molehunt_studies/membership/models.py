"""The models: each is the target once, and a shadow of all others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from molehunt.attacks import ShadowModels, ask_shares, draw_members
from molehunt.files import make_folder, written_whole
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Queried, build_classifier, load_model, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import clean_accuracy, train
from molehunt_studies.membership.plan import STOPPED, WHOLE, MembershipPlan


class ModelTask(Task):
    """A model to train: which of its group it is."""

    group: str
    number: int
    epochs: float


class ModelRecord(ModelTask):
    """How accurate it became, on its members and on test images."""

    members: int
    train_accuracy: float
    test_accuracy: float
    seconds: float


class Answers(NamedTuple):
    """Scaled confidences of a group of models."""

    candidates: Tensor  # [M, N, V]
    test: Tensor  # [M, n]


@dataclass(frozen=True)
class MembershipBench(Bench[MembershipPlan]):
    """The images, who was trained on which, and what all models answer."""

    @cached_property
    def images(self) -> TrainTest:
        """Training images are the candidates; test images are no member of anything."""
        return load_images(self.plan.source, data_root=self.data_root)

    @property
    def candidates(self) -> ImageSet:
        """The images that are members of half of the models each."""
        return self.images.train

    def size(self, group: str) -> int:
        """Return the number of models of a group."""
        plan = self.plan
        return (plan.trained or plan.shadows) if group == WHOLE else plan.stopped_shadows

    def members(self, group: str) -> Tensor:
        """Return which candidates each model of a group was trained on, bool [M, N]."""
        plan = self.plan
        drawn = plan.shadows if group == WHOLE else plan.stopped_shadows
        return draw_members(drawn, len(self.candidates), seed=plan.seed)[: self.size(group)]

    def answers_path(self, group: str, number: int) -> Path:
        """Return the file of a model's answers."""
        return self.folder / "answers" / f"{group}-{number:02d}.safetensors"

    def answers(self, group: str) -> Answers:
        """Return what the models of a group answered; they are read once."""
        if group not in self._answers:
            paths = [self.answers_path(group, n) for n in range(self.size(group))]
            found = [load_file(path) for path in paths]
            self._answers[group] = Answers(
                torch.stack([each["candidates"] for each in found]).double(),
                torch.stack([each["test"] for each in found]).double(),
            )
        return self._answers[group]

    @cached_property
    def forests(self) -> ShadowModels:
        """Random forests of scikit-learn, each fitted on a random half of the training digits."""
        forest = RandomForestClassifier(self.plan.trees)
        digits = load_images("digits").train
        return ShadowModels.fit(forest, digits, self.plan.forests, seed=self.plan.seed)

    @cached_property
    def _answers(self) -> dict[str, Answers]:
        return {}


def model_tasks(bench: MembershipBench, _records: Records) -> list[ModelTask]:
    """Return a task a model."""
    groups = {WHOLE: bench.plan.recipe.epochs, STOPPED: bench.plan.stopped}
    return [
        ModelTask(id=f"{group}-{number:02d}", group=group, number=number, epochs=epochs)
        for group, epochs in groups.items()
        for number in range(bench.size(group))
    ]


def train_model(task: ModelTask, bench: MembershipBench) -> ModelRecord:
    """Train a model on its half, and keep what it answers about every candidate."""
    plan = bench.plan
    members = bench.members(task.group)[task.number]
    half = bench.candidates.take(members)
    seed = plan.seed + 1 + task.number
    recipe = plan.recipe.model_copy(update={"epochs": task.epochs})
    model = build_classifier(
        plan.network, half, arguments=plan.arguments, recipe=recipe.model_dump(), seed=seed
    )
    run = train(model, half, recipe, seed=seed)
    path = bench.model_path(task.id)
    save_model(model, path)
    saved = load_model(path)
    target = Queried(saved)
    shift = plan.shift if task.group == WHOLE else 0
    shown, test = bench.candidates, bench.images.test
    scaled = ask_shares(target, shown.images, shown.labels, shift).scaled()
    answers = {
        "candidates": scaled.float(),
        "test": ask_shares(target, test.images, test.labels).scaled()[:, 0].float(),
    }
    kept = bench.answers_path(task.group, task.number)
    make_folder(kept.parent)
    with written_whole(kept) as temporary:
        save_file(answers, temporary)
    return ModelRecord(
        **dict(task),
        members=int(members.sum()),
        train_accuracy=clean_accuracy(saved, half),
        test_accuracy=clean_accuracy(saved, test),
        seconds=round(run.seconds, 1),
    )
