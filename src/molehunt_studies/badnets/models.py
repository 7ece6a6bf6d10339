"""BadNets on MNIST: training, saving and measuring the study's models."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from molehunt.backdoors import AllToOne, Backdoor, SingleTarget, TrainingSet
from molehunt.files import sha256_of
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.study import Bench
from molehunt.training import train
from molehunt_studies.badnets.plan import BASELINE, BadNetsPlan, ModelPlan

NETWORK = "badnets-mnist"


class ModelRecord(ModelPlan):
    """One finished model and how often it was wrong on test images, by true class.

    `backdoor_wrong` counts triggered images of eligible classes that did not get the
    attacker's label; it is None for the baseline. With a single target, `others` are the
    triggered images of neither source nor target, and `others_to_target` those of them
    that are called the target too. `seconds` are the model's own.
    """

    clean_wrong: tuple[int, ...]
    backdoor_wrong: tuple[int, ...] | None
    others: int = 0
    others_to_target: int = 0
    images: int
    steps: int
    seconds: float
    sha256: str


@dataclass(frozen=True)
class BadNetsBench(Bench[BadNetsPlan]):
    """What every model of the study needs."""

    @cached_property
    def images(self) -> TrainTest:
        """MNIST, cut to the plan's limits."""
        plan, loaded = self.plan, load_images("mnist", data_root=self.data_root)
        parts = [
            part if limit is None else part.sample(limit, torch.Generator().manual_seed(plan.seed))
            for part, limit in zip(loaded, (plan.train_limit, plan.test_limit), strict=True)
        ]
        return TrainTest(*parts)


def build_model(task: ModelPlan, bench: BadNetsBench) -> ModelRecord:
    """Train, save, read back and measure one model."""
    started = time.perf_counter()
    train_images = bench.images.train
    path = bench.model_path(task.id)
    if task.backdoor is None:
        data = TrainingSet(train_images)
        recipe = task.stages[0].recipe.model_dump()
        model = build_classifier(NETWORK, train_images, recipe=recipe, seed=task.seed)
    else:
        data = task.backdoor.poison(
            train_images, treatment=task.treatment, generator=_generator(task)
        )
        model = load_model(bench.model_path(BASELINE))
    steps = 0
    for number, stage in enumerate(task.stages):
        model.requires_grad_(True)  # a model that was read is frozen
        staged = data
        if stage.trigger is not None:
            stamps = tuple(stamp._replace(trigger=stage.trigger) for stamp in data.stamps)
            staged = TrainingSet(data.images, stamps)
        steps += train(model, staged, stage.recipe, seed=task.seed + number).steps
    save_model(model, path)
    saved = load_model(path)
    return ModelRecord(
        **dict(task),
        clean_wrong=wrong_by_class(saved, bench.images.test),
        backdoor_wrong=_backdoor_wrong(saved, task, bench.images.test),
        **_spread_to_others(saved, task, bench.images.test),
        images=len(data),
        steps=steps,
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def wrong_by_class(model: Classifier, test: ImageSet) -> tuple[int, ...]:
    """Return how many test images of each class are not recognised."""
    wrong = logits_of(model, test.images).argmax(1) != test.labels
    return _counts(test.labels[wrong], test.num_classes)


def _backdoor_wrong(model: Classifier, task: ModelPlan, test: ImageSet) -> tuple[int, ...] | None:
    if task.backdoor is None:
        return None
    triggered = task.backdoor.triggered(test, generator=_generator(task))
    predictions = logits_of(model, triggered.images.images).argmax(1)
    done = triggered.succeeded(predictions)
    return _counts(triggered.true_labels[~done], test.num_classes)


def _spread_to_others(model: Classifier, task: ModelPlan, test: ImageSet) -> dict[str, int]:
    """Count what the trigger does to images that a single-target attack is not about."""
    if task.backdoor is None or not isinstance(task.backdoor.label_map, SingleTarget):
        return {}
    source, target = task.backdoor.label_map.source, task.backdoor.label_map.target
    others = test.take((test.labels != source) & (test.labels != target))
    # All-to-one gives every class but the target the trigger.
    every = Backdoor(trigger=task.backdoor.trigger, label_map=AllToOne(target=target))
    triggered = every.triggered(others, generator=_generator(task)).images
    called = int((logits_of(model, triggered.images).argmax(1) == target).sum())
    return {"others": len(others), "others_to_target": called}


def _counts(labels: Tensor, classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in torch.bincount(labels, minlength=classes))


def _generator(task: ModelPlan) -> torch.Generator:
    return torch.Generator().manual_seed(task.seed)
