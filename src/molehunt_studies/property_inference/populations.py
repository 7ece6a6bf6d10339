"""Populations of models whose training data have a property, or have not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import build_classifier, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import clean_accuracy, train_many
from molehunt_studies.property_inference.plan import Property, PropertyPlan

_TOGETHER = 40  # models, trained at once


class GroupTask(Task):
    """Models to train at once: of which population and part, with the property in turn."""

    property: Property
    part: Literal["fit", "test"]
    seeds: tuple[int, ...]


class GroupRecord(GroupTask):
    """What they came to, in the order of their seeds."""

    accuracies: tuple[float, ...]

    @property
    def has(self) -> tuple[bool, ...]:
        """Whether each model's images have the property."""
        return tuple(bool(seed % 2) for seed in self.seeds)


@dataclass(frozen=True)
class PropertyBench(Bench[PropertyPlan]):
    """The images: the attacker's half and the victims'."""

    @cached_property
    def halves(self) -> dict[str, ImageSet]:
        """Return the training images of the parts ``fit`` and ``test``."""
        train = self._images.train
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        middle = len(train) // 2
        return {"fit": train.take(order[:middle]), "test": train.take(order[middle:])}

    @cached_property
    def test(self) -> ImageSet:
        """Images on which accuracy is measured."""
        return self._images.test.sample(1000, torch.Generator().manual_seed(0))

    @cached_property
    def _images(self) -> TrainTest:
        return load_images(self.plan.images, data_root=self.data_root, size=self.plan.size)


def group_tasks(bench: PropertyBench, _records: Records) -> list[GroupTask]:
    """Return every model; each has a seed of its own."""
    parts: dict[Literal["fit", "test"], int] = {"fit": bench.plan.fit, "test": bench.plan.test}
    tasks: list[GroupTask] = []
    first = 1000  # even: every second model has the property
    for name in bench.plan.properties:
        for part, count in parts.items():
            seeds = range(first, first + count)
            for start in range(0, count, _TOGETHER):
                tasks.append(
                    GroupTask(
                        id=f"{name}-{part}-{start:03d}",
                        property=name,
                        part=part,
                        seeds=tuple(seeds[start : start + _TOGETHER]),
                    )
                )
            first += count + count % 2
    return tasks


def train_group(task: GroupTask, bench: PropertyBench) -> GroupRecord:
    """Draw the training images of each model, with the property or without, and train."""
    plan = bench.plan
    # The card's mean and deviation are of the attacker's half for all: they tell nothing.
    attackers, arguments = bench.halves["fit"], {"hidden": list(plan.hidden)}
    models = [
        build_classifier("mlp", attackers, arguments=arguments, seed=seed) for seed in task.seeds
    ]
    sets = [
        draw_images(
            bench.halves[task.part],
            task.property,
            bool(seed % 2),
            plan.train_images,
            torch.Generator().manual_seed(seed),
        )
        for seed in task.seeds
    ]
    train_many(models, sets, [plan.recipe] * len(models), seeds=task.seeds)
    for seed, model in zip(task.seeds, models, strict=True):
        save_model(model, bench.model_path(str(seed)))
    accuracies = tuple(clean_accuracy(model, bench.test) for model in models)
    return GroupRecord(**dict(task), accuracies=accuracies)


def draw_images(
    source: ImageSet, name: Property, has: bool, count: int, generator: torch.Generator
) -> ImageSet:
    """Return `count` images of a set that has a property, or has not."""
    if name == "share":
        even = source.labels % 2 == 0
        most = round(count * (0.6 if has else 0.4))
        parts = [(even, most), (~even, count - most)]
        places = [mask.nonzero().flatten() for mask, _ in parts]
        drawn = [
            place[torch.randperm(len(place), generator=generator)[:number]]
            for place, (_, number) in zip(places, parts, strict=True)
        ]
        return source.take(torch.cat(drawn))
    images = source.sample(count, generator)
    if not has or name == "nothing":
        return images
    pixels = images.images.clone()
    if name == "mark":
        marked = torch.rand(len(images), generator=generator) < 0.1
        pixels[marked, :, :2, :2] = 255
    else:
        noise = 0.2 * 255 * torch.randn(pixels.shape, generator=generator)
        pixels = (pixels + noise).clamp(0, 255).round().to(torch.uint8)
    return ImageSet(pixels, images.labels, images.class_names)
