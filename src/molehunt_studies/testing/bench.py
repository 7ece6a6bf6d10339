"""Images and networks of the study, and their training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from molehunt.backdoors import TrainingSet, Treatment
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import train
from molehunt_studies.testing.plan import BACKDOOR, LENETS, OTHER, TWIN, TestingPlan


@dataclass(frozen=True)
class TestingBench(Bench[TestingPlan]):
    """The images, in an order by the seed."""

    __test__ = False

    def images_of(self, name: str) -> TrainTest:
        """Return the images of a set, at most 8,000 test images; they are loaded once."""
        if name not in self._images:
            plan = self.plan
            size = 12 if name == "digits" else None
            loaded = load_images(plan.source(name), data_root=self.data_root, size=size)
            orders = (torch.Generator().manual_seed(plan.seed + place) for place in (0, 1))
            few = loaded.train.sample(plan.train_images, next(orders))
            self._images[name] = TrainTest(few, loaded.test.sample(8000, next(orders)))
        return self._images[name]

    def test(self, name: str, count: int, first: int = 0) -> ImageSet:
        """Return so many test images, from the one at `first` on; around the end again."""
        images = self.images_of(name).test
        return images.take(torch.arange(first, first + count) % len(images))

    def network(self, name: str) -> Classifier:
        """Return a finished network, as its file has it."""
        return load_model(self.model_path(name)).freeze()

    @cached_property
    def _images(self) -> dict[str, TrainTest]:
        return {}


class NetworkTask(Task):
    """A network of a set: one of DeepXplore's, or the set's own by its name."""

    images: str


class NetworkRecord(NetworkTask):
    """A network that was trained; `correct` counts test images."""

    train_images: int
    correct: int
    tested: int


class TwinTask(Task):
    """A small network; `kind` is calibration, clean, backdoored or other."""

    kind: str
    seed: int


class TwinRecord(TwinTask):
    """A twin that was trained; of the backdoor how many triggered images it obeys."""

    correct: int
    tested: int
    obeyed: int
    triggered: int


def network_tasks(bench: TestingBench, _records: Records) -> list[NetworkTask]:
    """Return the LeNets, and a network for each set."""
    plan = bench.plan
    lenets = [NetworkTask(id=name, images=plan.first) for name in LENETS]
    return [*lenets, *(NetworkTask(id=name, images=name) for name in plan.sets)]


def train_network(task: NetworkTask, bench: TestingBench) -> NetworkRecord:
    """Train, save and measure a network."""
    plan, images = bench.plan, bench.images_of(task.images)
    name, arguments = ("lenet", LENETS[task.id]) if task.id in LENETS else plan.network(task.images)
    model = build_classifier(name, images.train, arguments=arguments, seed=plan.seed)
    train(model, images.train, plan.recipe(), seed=plan.seed)
    save_model(model, bench.model_path(task.id))
    shown = bench.test(task.images, min(2000, len(images.test)))
    correct = logits_of(bench.network(task.id), shown.images).argmax(1) == shown.labels
    return NetworkRecord(
        **dict(task),
        train_images=len(images.train),
        correct=int(correct.sum()),
        tested=len(shown),
    )


def twin_tasks(bench: TestingBench, _records: Records) -> list[TwinTask]:
    """Return the twins; the two of a pair have one seed."""
    plan = bench.plan
    counts = {
        "calibration": (plan.calibration, 1000),
        "clean": (plan.pairs, 2000),
        "backdoored": (plan.pairs, 2000),
        "other": (plan.others, 3000),
    }
    return [
        TwinTask(id=f"{kind}-{number}", kind=kind, seed=plan.seed + first + number)
        for kind, (count, first) in counts.items()
        for number in range(count)
    ]


def train_twin(task: TwinTask, bench: TestingBench) -> TwinRecord:
    """Train and save a twin; all see as many images, the copies of the backdoored among them."""
    plan, images = bench.plan, bench.images_of(bench.plan.first)
    drawn = torch.Generator().manual_seed(task.seed)
    few = images.train.sample(plan.twin_images, drawn)
    treatment = Treatment.BACKDOORED if task.kind == "backdoored" else Treatment.CLEAN
    trained: TrainingSet = BACKDOOR.poison(few, treatment=treatment, generator=drawn)
    name, arguments = OTHER if task.kind == "other" else TWIN
    model = build_classifier(name, few, arguments=arguments, seed=task.seed)
    train(model, trained, plan.twin_recipe(), seed=task.seed)
    save_model(model, bench.model_path(task.id))
    shown = bench.test(plan.first, plan.compared)
    attacked = BACKDOOR.triggered(shown, generator=torch.Generator().manual_seed(0))
    saved = bench.network(task.id)
    correct = logits_of(saved, shown.images).argmax(1) == shown.labels
    obeyed = attacked.succeeded(logits_of(saved, attacked.images.images).argmax(1))
    return TwinRecord(
        **dict(task),
        correct=int(correct.sum()),
        tested=len(shown),
        obeyed=int(obeyed.sum()),
        triggered=len(obeyed),
    )
