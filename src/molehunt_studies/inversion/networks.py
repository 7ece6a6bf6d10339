"""The networks of the study: victims, and a judge of each set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import train
from molehunt_studies.inversion.plan import InversionPlan, NetworkPlan

JUDGE = "judge"
_TEST = 2000  # most images that errors are measured on


class NetworkTask(Task):
    """A network to train."""

    images: str
    network: str
    seed: int


class NetworkRecord(NetworkTask):
    """How many test images it gets wrong."""

    wrong: int
    of: int
    seconds: float


@dataclass(frozen=True)
class InversionBench(Bench[InversionPlan]):
    """The images, and the trained networks."""

    def images_of(self, name: str) -> TrainTest:
        """Return the training and the test images of a set."""
        return self._loaded[name]

    def network_plan(self, images: str, network: str) -> NetworkPlan:
        """Return how a victim or the judge is made."""
        plan = self.plan.sets[images]
        return plan.judge if network == JUDGE else plan.networks[network]

    def file_of(self, images: str, network: str) -> str:
        """Return the name of a network's file."""
        return f"{images}-{network}".lower()

    def network(self, images: str, name: str) -> Classifier:
        """Return a network that was trained before."""
        return load_model(self.model_path(self.file_of(images, name)))

    def untrained(self, images: str, name: str) -> Classifier:
        """Return a network as it was before its training: it knows nothing of the images."""
        plan = self.network_plan(images, name)
        return build_classifier(
            plan.architecture,
            self.images_of(images).train,
            arguments=plan.arguments,
            seed=self.plan.seed + 1,
        )

    def means(self, images: str) -> Tensor:
        """Return the mean training image of each class, float32 [K, C, H, W]."""
        train_set = self.images_of(images).train
        pixels, labels = train_set.pixels(), train_set.labels
        classes = range(train_set.num_classes)
        return torch.stack([pixels[labels == each].mean(0) for each in classes])

    @cached_property
    def _loaded(self) -> dict[str, TrainTest]:
        found = {}
        for name, plan in self.plan.sets.items():
            size = plan.shape[1] if plan.source.startswith("folder:") else None
            loaded = load_images(plan.source, data_root=self.data_root, size=size)
            parts = [loaded.train, loaded.test]
            if plan.train_images is not None:
                parts[0] = parts[0].take(torch.arange(plan.train_images))
            found[name] = TrainTest(*(part.shaped(plan.shape) for part in parts))
        return found


def network_tasks(bench: InversionBench, _records: Records) -> list[NetworkTask]:
    """Return the victims and a judge of each set; the judge has a seed of its own."""
    return [
        NetworkTask(
            id=bench.file_of(images, network),
            images=images,
            network=network,
            seed=bench.plan.seed + (100 if network == JUDGE else 0),
        )
        for images, plan in bench.plan.sets.items()
        for network in (*plan.networks, JUDGE)
    ]


def train_network(task: NetworkTask, bench: InversionBench) -> NetworkRecord:
    """Train one, and count its errors on test images."""
    plan, images = bench.network_plan(task.images, task.network), bench.images_of(task.images)
    model = build_classifier(
        plan.architecture, images.train, arguments=plan.arguments, seed=task.seed
    )
    started = time.perf_counter()
    train(model, images.train, plan.recipe, seed=task.seed)
    seconds = round(time.perf_counter() - started, 1)
    save_model(model, bench.model_path(task.id))
    test: ImageSet = images.test
    if len(test) > _TEST:
        test = test.sample(_TEST, torch.Generator().manual_seed(0))
    wrong = int((logits_of(model, test.images).argmax(1) != test.labels).sum())
    return NetworkRecord(**dict(task), wrong=wrong, of=len(test), seconds=seconds)
