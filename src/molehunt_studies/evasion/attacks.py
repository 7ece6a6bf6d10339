"""Training the networks, and attacking them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch

from molehunt.attacks import (
    ATTACKS,
    EvasionAttack,
    Norm,
    SecurityCurve,
    curve_of,
    evade,
    new_attack,
    sweep,
)
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Queried, Reveals, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import train
from molehunt_studies.evasion.plan import NETWORK, AttackTask, EvasionPlan


class NetworkTask(Task):
    """The network of a data set, by its name."""


class NetworkRecord(NetworkTask):
    """A network that was trained; `accuracy` is on all test images."""

    train_images: int
    test_images: int
    correct: int
    seconds: float


class AttackRecord(AttackTask):
    """What each image stood, in the attack's norm.

    `sizes` are 0 where the network was wrong before, and None where no change fooled it.
    `attacked` are those that it had right. Queries and seconds are of all images together.
    """

    sizes: tuple[float | None, ...]
    attacked: int
    queries: int
    seconds: float

    @property
    def curve(self) -> SecurityCurve:
        """The sizes as a curve."""
        sizes = [torch.inf if size is None else size for size in self.sizes]
        return SecurityCurve(self.norm, torch.tensor(sizes))


class ComparedTask(Task):
    """AutoAttack by Molehunt and by its library alone, on the same images."""

    epsilon: float


class ComparedRecord(ComparedTask):
    """How many images are left: clean, of the saved images, and by the library's own word."""

    images: int
    clean: int
    ours: int
    library: int
    queries: int
    seconds: float
    library_seconds: float


@dataclass(frozen=True)
class EvasionBench(Bench[EvasionPlan]):
    """The images."""

    def images_of(self, name: str) -> TrainTest:
        """Return the images of a data set; they are loaded once."""
        if name not in self._images:
            plan = self.plan
            size = 12 if name == "digits" else None
            loaded = load_images(plan.source(name), data_root=self.data_root, size=size)
            limit = plan.train_limit(name) or len(loaded.train)
            few = loaded.train.sample(limit, torch.Generator().manual_seed(plan.seed))
            self._images[name] = TrainTest(few, loaded.test)
        return self._images[name]

    def attacked_images(self, name: str, count: int) -> ImageSet:
        """Return the first of the test images in an order by the seed."""
        drawn = torch.Generator().manual_seed(self.plan.seed + 1)
        return self.images_of(name).test.sample(count, drawn)

    @cached_property
    def _images(self) -> dict[str, TrainTest]:
        return {}


def network_tasks(bench: EvasionBench, _records: Records) -> list[NetworkTask]:
    """Return a network for each data set."""
    return [NetworkTask(id=name) for name in bench.plan.images]


def train_network(task: NetworkTask, bench: EvasionBench) -> NetworkRecord:
    """Train, save and measure a network."""
    started = time.perf_counter()
    images = bench.images_of(task.id)
    model = build_classifier("vgg", images.train, arguments=NETWORK, seed=bench.plan.seed)
    train(model, images.train, bench.plan.recipe(task.id), seed=bench.plan.seed)
    save_model(model, bench.model_path(task.id))
    saved = load_model(bench.model_path(task.id))
    correct = logits_of(saved, images.test.images).argmax(1) == images.test.labels
    return NetworkRecord(
        id=task.id,
        train_images=len(images.train),
        test_images=len(images.test),
        correct=int(correct.sum()),
        seconds=round(time.perf_counter() - started, 1),
    )


def attack_tasks(bench: EvasionBench, _records: Records) -> list[AttackTask]:
    """Return every attack."""
    return bench.plan.attacks()


def attack_network(task: AttackTask, bench: EvasionBench) -> AttackRecord:
    """Attack a network that was saved, and measure what each image stood."""
    target = _target(task.images, bench, ATTACKS[task.attack].needs)
    clean = bench.attacked_images(task.images, task.count)
    started = time.perf_counter()
    curve = _curve(task, target, clean, bench.plan.seed)
    return AttackRecord(
        **dict(task),
        sizes=tuple(round(size, 6) if size < torch.inf else None for size in curve.sizes.tolist()),
        attacked=int((curve.sizes > 0).sum()),
        queries=target.queries,
        seconds=round(time.perf_counter() - started, 2),
    )


def _curve(task: AttackTask, target: Queried, clean: ImageSet, seed: int) -> SecurityCurve:
    if not task.epsilons:
        attack = new_attack(task.attack, norm=task.norm, **task.settings)
        return curve_of([evade(target, clean, attack, seed=seed)], task.norm)

    def attack_of(epsilon: float) -> EvasionAttack:
        return new_attack(task.attack, norm=task.norm, epsilon=epsilon, **task.settings)

    return sweep(target, clean, attack_of, task.epsilons, seed=seed)


def compared_tasks(bench: EvasionBench, _records: Records) -> list[ComparedTask]:
    """Return the data sets on which AutoAttack is compared."""
    return [ComparedTask(id=name, epsilon=radius) for name, radius in bench.plan.compared.items()]


def compare(task: ComparedTask, bench: EvasionBench) -> ComparedRecord:
    """Run AutoAttack both ways; the library gets the bare network and floats."""
    from pyautoattack import AutoAttack  # noqa: PLC0415  an extra

    target = _target(task.id, bench, Reveals.WEIGHTS)
    clean = bench.attacked_images(task.id, bench.plan.compared_count)
    attack = new_attack("autoattack", norm=Norm.LINF, epsilon=task.epsilon)
    ours = evade(target, clean, attack, seed=bench.plan.seed)
    model = load_model(bench.model_path(task.id)).freeze()
    started = time.perf_counter()
    alone = AutoAttack(model, norm="Linf", eps=task.epsilon, seed=bench.plan.seed)
    changed, _ = alone.run_standard_evaluation(clean.pixels(), clean.labels, batch_size=100)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        left = model(changed).argmax(1) == clean.labels
    return ComparedRecord(
        **dict(task),
        images=len(clean),
        clean=int((ours.before == clean.labels).sum()),
        ours=int(((ours.before == clean.labels) & ~ours.success).sum()),
        library=int(left.sum()),
        queries=ours.queries,
        seconds=round(ours.seconds, 2),
        library_seconds=round(seconds, 2),
    )


def _target(name: str, bench: EvasionBench, reveals: Reveals) -> Queried:
    return Queried(load_model(bench.model_path(name)), reveals=reveals)
