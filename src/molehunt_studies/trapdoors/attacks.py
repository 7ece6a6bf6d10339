"""Attacks on the networks, and how many of them are caught."""

from __future__ import annotations

import time

import torch

from molehunt.attacks import EvasionAttack, UnnoticedGradient, evade, new_attack
from molehunt.defences import TrapdoorWatch
from molehunt.images import ImageSet
from molehunt.networks import Queried
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt_studies.trapdoors.bench import WITH, Count, TrapdoorBench, count
from molehunt_studies.trapdoors.networks import NetworkRecord
from molehunt_studies.trapdoors.plan import Attacker, TrapdoorPlan


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
        caught=count(bench.flags(task.network, task.seed, evaded.images)[fooled]),
        caught_easily=count(bench.easy_flags(task.network, task.seed, evaded.images)[fooled]),
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
