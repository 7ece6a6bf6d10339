"""Networks with and without trapdoors, and what attacks on them leave unseen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from molehunt.attacks import EvasionAttack, UnnoticedGradient, evade, new_attack
from molehunt.backdoors import Treatment
from molehunt.defences import Trapdoors, TrapdoorWatch, draw_trapdoors
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Queried, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import train
from molehunt_studies.trapdoors.plan import Attacker, TrapdoorPlan

Count = tuple[int, int]  # so many, of so many
WITH, WITHOUT = "trapdoors", "twin"


class NetworkTask(Task):
    """A network to train; the twin sees the same copies without trapdoors and labels."""

    kind: str
    seed: int


class NetworkRecord(NetworkTask):
    """What it does with clean, trapdoored and noisy images; noise counts what stays right."""

    accuracy: Count
    opened: Count
    flagged_trapdoors: Count
    false_alarms: Count
    noise: dict[str, Count]
    seconds: float


class NullTask(Task):
    """A network's false alarms under the authors' null."""

    kind: str
    seed: int


class NullRecord(NullTask):
    """Clean images that are flagged: of those held out, under the authors' null."""

    false_alarms: Count


class AttackTask(Task):
    """An attack, of the plan, on the network that is called `network`."""

    kind: str
    seed: int
    network: str
    name: str


class AttackRecord(AttackTask):
    """What came of it: `caught` are flagged among those that fooled the network.

    `caught_easily` are flagged under the authors' null. `size` is the median of changes that
    fooled it, in the attack's norm.
    """

    fooled: Count
    caught: Count
    caught_easily: Count
    size: float | None
    queries: int
    seconds: float


class Parts(NamedTuple):
    """Disjoint test images."""

    clean: ImageSet
    held_out: ImageSet
    attacked: ImageSet
    others: ImageSet


@dataclass(frozen=True)
class TrapdoorBench(Bench[TrapdoorPlan]):
    """The images of the study and its networks."""

    def train_images(self, seed: int) -> ImageSet:
        """Return the training images of a seed."""
        limit = self.plan.train_limit
        everything = self._all.train
        if limit is None:
            return everything
        return everything.sample(limit, torch.Generator().manual_seed(seed))

    def parts(self, seed: int) -> Parts:
        """Return the test images of a seed, in an order of its own."""
        plan, test = self.plan, self._all.test
        order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed + 100))
        sizes = [plan.clean, plan.held_out, plan.attacked]
        left = len(test) - sum(sizes)
        places = order.split([*sizes, left])  # type: ignore[no-untyped-call]
        return Parts(*(test.take(part) for part in places))

    def trapdoors(self, seed: int) -> Trapdoors:
        """Return the trapdoors of a seed."""
        plan = self.plan
        return draw_trapdoors(
            self._all.train,
            patches=plan.patches,
            size=plan.patch_size,
            opacity=plan.opacity,
            rate=plan.rate,
            seed=seed,
        )

    def watch(self, name: str, seed: int) -> TrapdoorWatch:
        """Return the watch of a network, made once; without trapdoors in it, it is a control."""
        if name not in self._watches:
            model = load_model(self.model_path(name)).freeze()
            generator = torch.Generator().manual_seed(seed)
            anchors = self.train_images(seed).sample(self.plan.anchors, generator)
            watch = self.trapdoors(seed).watch(model, anchors, self.parts(seed).clean)
            self._watches[name] = watch
        return self._watches[name]

    def easy_flags(self, name: str, seed: int, images: torch.Tensor) -> torch.Tensor:
        """Return flags, bool [N], as the authors' code counts false alarms.

        Its null for a class are clean images of the *other* classes. A deployed network compares
        none of these with the class's signature.
        """
        watch = self.watch(name, seed)
        if name not in self._easy:
            some = self.parts(seed).clean.take(torch.arange(min(500, self.plan.clean)))
            least = torch.empty(some.num_classes)
            for label in range(some.num_classes):
                others = some.images[some.labels != label]
                least[label] = _similarities(
                    watch, others, torch.full((len(others),), label)
                ).quantile(1 - self.plan.max_false_alarms)
            self._easy[name] = least
        taken = logits_of(watch.model, images).argmax(1)
        return _similarities(watch, images, taken) > self._easy[name][taken]

    @cached_property
    def _watches(self) -> dict[str, TrapdoorWatch]:
        return {}

    @cached_property
    def _easy(self) -> dict[str, torch.Tensor]:
        return {}

    @cached_property
    def _all(self) -> TrainTest:
        plan = self.plan
        return load_images(plan.source, data_root=self.data_root, size=plan.size)


def network_tasks(bench: TrapdoorBench, _records: Records) -> list[NetworkTask]:
    """Return a network with trapdoors and its twin for each seed."""
    return [
        NetworkTask(id=f"{kind}-{seed}", kind=kind, seed=seed)
        for seed in bench.plan.seeds
        for kind in (WITH, WITHOUT)
    ]


def train_network(task: NetworkTask, bench: TrapdoorBench) -> NetworkRecord:
    """Train, save and measure a network."""
    plan, started = bench.plan, time.process_time()
    images, trapdoors = bench.train_images(task.seed), bench.trapdoors(task.seed)
    generator = torch.Generator().manual_seed(task.seed)
    treatment = Treatment.BACKDOORED if task.kind == WITH else Treatment.CLEAN
    planted = trapdoors.poison(images, treatment=treatment, generator=generator)
    model = build_classifier(plan.architecture, images, arguments=plan.arguments, seed=task.seed)
    train(model, planted, plan.recipe, seed=task.seed)
    save_model(model, bench.model_path(task.id))
    seconds = time.process_time() - started
    watch, parts = bench.watch(task.id, task.seed), bench.parts(task.seed)
    tested = parts.held_out.joined(parts.others)
    shown = trapdoors.triggered(parts.attacked, generator=generator)
    opened = shown.succeeded(logits_of(watch.model, shown.images.images).argmax(1))
    flags = _flags(watch, shown.images.images, plan)
    return NetworkRecord(
        **dict(task),
        accuracy=_count(logits_of(watch.model, tested.images).argmax(1) == tested.labels),
        opened=_count(opened),
        flagged_trapdoors=_count(flags[opened]),
        false_alarms=_count(_flags(watch, parts.held_out.images, plan)),
        noise={
            f"{largest:.3g}": _flagged_noise(watch, parts.held_out, largest, plan, generator)
            for largest in plan.noise
        },
        seconds=round(seconds, 1),
    )


def null_tasks(_bench: TrapdoorBench, records: Records) -> list[NullTask]:
    """Return each network."""
    networks: list[NetworkRecord] = [*records["networks"]]
    return [NullTask(id=each.id, kind=each.kind, seed=each.seed) for each in networks]


def measure_null(task: NullTask, bench: TrapdoorBench) -> NullRecord:
    """Count the false alarms that the authors' null gives on all classes together."""
    held_out = bench.parts(task.seed).held_out.images
    flags = bench.easy_flags(task.id, task.seed, held_out)
    return NullRecord(**dict(task), false_alarms=_count(flags))


def attack_tasks(bench: TrapdoorBench, records: Records) -> list[AttackTask]:
    """Return every attack on every network; without trapdoors there is nothing to know."""
    networks: list[NetworkRecord] = [*records["networks"]]
    return [
        AttackTask(
            id=f"{network.id}/{name}",
            kind=network.kind,
            seed=network.seed,
            network=network.id,
            name=name,
        )
        for network in networks
        for name, attacker in bench.plan.attackers.items()
        if network.kind == WITH or not attacker.knows
    ]


def attack_network(task: AttackTask, bench: TrapdoorBench) -> AttackRecord:
    """Attack a network, and count on saved images who fooled it and who was caught."""
    plan, attacker = bench.plan, bench.plan.attackers[task.name]
    watch, parts = bench.watch(task.network, task.seed), bench.parts(task.seed)
    few = parts.attacked.take(torch.arange(attacker.most or plan.attacked))
    generator = torch.Generator().manual_seed(task.seed)
    steps = torch.randint(1, few.num_classes, (len(few),), generator=generator)
    targets = (few.labels + steps) % few.num_classes if attacker.targeted else None
    attack = _attack(attacker, watch, parts.others, plan)
    started = time.process_time()
    target = Queried(watch.model, reveals=attack.needs)
    evaded = evade(target, few, attack, targets=targets, seed=task.seed)
    fooled = evaded.success
    sizes = evaded.sizes(attacker.norm)
    return AttackRecord(
        **dict(task),
        fooled=(int(fooled.sum()), int(evaded.attacked.sum())),
        caught=_count(_flags(watch, evaded.images, plan)[fooled]),
        caught_easily=_count(bench.easy_flags(task.network, task.seed, evaded.images)[fooled]),
        size=round(float(sizes.median()), 3) if len(sizes) else None,
        queries=evaded.queries,
        seconds=round(time.process_time() - started, 1),
    )


def _attack(
    attacker: Attacker, watch: TrapdoorWatch, own: ImageSet, plan: TrapdoorPlan
) -> EvasionAttack:
    if attacker.knows:
        if attacker.epsilon is None:
            raise ValueError(f"{attacker.attack} needs an epsilon")
        return UnnoticedGradient(
            alarm=watch.alarm(plan.kept_from),
            norm=attacker.norm,
            epsilon=attacker.epsilon,
            **attacker.settings,
        )
    settings = dict(attacker.settings)
    if attacker.attack == "hopskipjump":
        settings["starts"] = own.pixels()[:200]  # some of each class
    return new_attack(attacker.attack, norm=attacker.norm, epsilon=attacker.epsilon, **settings)


def _flagged_noise(
    watch: TrapdoorWatch,
    images: ImageSet,
    largest: float,
    plan: TrapdoorPlan,
    generator: torch.Generator,
) -> Count:
    """Count flags among images with even noise up to a largest change that stay right."""
    change = largest * (2 * torch.rand(images.images.shape, generator=generator) - 1)
    noisy = ((images.pixels() + change).clamp(0, 1) * 255).round().to(torch.uint8)
    right = logits_of(watch.model, noisy).argmax(1) == images.labels
    return _count(_flags(watch, noisy, plan)[right])


def _flags(watch: TrapdoorWatch, images: torch.Tensor, plan: TrapdoorPlan) -> torch.Tensor:
    return torch.from_numpy(watch.flags(images, max_false_alarms=plan.max_false_alarms))


@torch.no_grad()
def _similarities(
    watch: TrapdoorWatch, images: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    parts = zip(images.split(500), classes.split(500), strict=True)  # type: ignore[no-untyped-call]
    return torch.cat([watch.similarities(some.float().div_(255), labels) for some, labels in parts])


def _count(which: torch.Tensor) -> Count:
    return int(which.sum()), len(which)
