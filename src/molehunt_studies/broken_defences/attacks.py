"""The attacks of the study, and the warning signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from molehunt.attacks import (
    EvasionAttack,
    Loss,
    Norm,
    ProjectedGradient,
    Transferred,
    evade,
    find_warning_signs,
    new_attack,
)
from molehunt.networks import Queried, Reveals
from molehunt_studies.broken_defences.defences import DEFENCES, defended
from molehunt_studies.broken_defences.networks import BrokenBench
from molehunt_studies.broken_defences.plan import Attack, AttackTask, BrokenPlan, SignTask

MARGIN = 0.05  # above the undefended network's robust accuracy: as good as broken


class AttackRecord(AttackTask):
    """How many of `images` are right before the attack and after it."""

    of: int
    right: int
    left: int
    queries: int
    seconds: float


class SignRecord(SignTask):
    """What the signs say, each with its images."""

    robustness: str
    shown: tuple[str, ...]
    signs: tuple[dict[str, Any], ...]
    of: int
    left: int
    left_by_all: int
    queries: int
    seconds: float


def attack_tasks(plan: BrokenPlan) -> list[AttackTask]:
    """Return every attack on every defence that it says something of."""
    return [
        _attack_task(plan, images, name, attack)
        for images in plan.sets
        for name in DEFENCES
        for attack in _attacks_on(name)
    ]


def harder_tasks(plan: BrokenPlan, attacks: Sequence[AttackRecord]) -> list[AttackTask]:
    """Return a harder attack on each defence that the adaptive one does not bring down."""
    left = {
        (record.images, record.defence): record.left / record.of
        for record in attacks
        if record.attack == "adaptive"
    }
    return [
        _attack_task(plan, images, name, "harder")
        for (images, name), share in left.items()
        if share > left[images, "none"] + MARGIN + 1e-9
    ]


def _attack_task(plan: BrokenPlan, images: str, name: str, attack: Attack) -> AttackTask:
    number = f"{images}-{name}-{attack}"
    return AttackTask(
        id=number, images=images, defence=name, attack=attack, seed=plan.seed_of(number)
    )


def _attacks_on(name: str) -> list[Attack]:
    defence = DEFENCES[name]
    attacks: list[Attack] = ["usual", "decision", "adaptive"]
    attacks += ["transfer"] * (name != "none")
    attacks += ["bpda"] * defence.hides
    # A mean of gradients that are all zero is zero.
    attacks += ["eot"] * (defence.random and not defence.hides)
    return attacks


def run_attack(task: AttackTask, bench: BrokenBench) -> AttackRecord:
    """Attack the first images behind one defence."""
    plan = bench.plan
    count = plan.decision_images if task.attack == "decision" else plan.images
    images = bench.images(task.images).test
    clean = images.take(torch.arange(min(count, len(images))))
    attack = _attack(task, bench)
    model = defended(bench, task.images, task.defence, task.seed)
    found = evade(Queried(model, reveals=attack.needs), clean, attack, seed=task.seed)
    right = found.before == found.labels
    return AttackRecord(
        **dict(task),
        of=len(clean),
        right=int(right.sum()),
        left=int((right & ~found.success).sum()),
        queries=found.queries,
        seconds=round(found.seconds, 2),
    )


def _attack(task: AttackTask, bench: BrokenBench) -> EvasionAttack:
    """Return the attack: the usual one, and what it takes beside that."""
    plan, defence = bench.plan, DEFENCES[task.defence]
    usual = _usual(plan, task.images)
    draws = plan.draws if defence.random else 1
    if task.attack == "decision":
        epsilon, steps = usual.epsilon, plan.decision_steps
        return new_attack("hopskipjump", norm=Norm.LINF, epsilon=epsilon, steps=steps)
    if task.attack == "transfer":
        source = bench.network(task.images, "plain")
        return Transferred(replace(usual, loss=Loss.MARGIN), source)
    if task.attack in ("adaptive", "harder"):
        harder = task.attack == "harder"
        return replace(
            usual,
            loss=Loss.MARGIN,
            bpda=defence.hides,
            draws=draws,
            steps=plan.adaptive_steps * (3 if harder else 1),
            restarts=2 if harder and not defence.random else 1,
            step_size=usual.epsilon / 4,
        )
    if task.attack == "bpda":
        return replace(usual, bpda=True)
    return replace(usual, draws=draws) if task.attack == "eot" else usual


def _usual(plan: BrokenPlan, images: str) -> ProjectedGradient:
    return ProjectedGradient(epsilon=plan.sets[images].epsilon, steps=plan.steps)


def sign_tasks(plan: BrokenPlan) -> list[SignTask]:
    """Return a look at each defence."""
    return [
        SignTask(
            id=f"{images}-{name}",
            images=images,
            defence=name,
            seed=plan.seed_of(f"{images}-{name}-signs"),
        )
        for images in plan.sets
        for name in DEFENCES
    ]


def look_for_signs(task: SignTask, bench: BrokenBench) -> SignRecord:
    """Look at one defence under the usual attack, with the undefended network to transfer from."""
    plan = bench.plan
    images = bench.images(task.images).test
    clean = images.take(torch.arange(min(plan.sign_images, len(images))))
    model = defended(bench, task.images, task.defence, task.seed)
    found = find_warning_signs(
        Queried(model, reveals=Reveals.WEIGHTS),
        clean,
        _usual(plan, task.images),
        substitute=None if task.defence == "none" else bench.network(task.images, "plain"),
        queries=plan.sign_queries,
        seed=task.seed,
    )
    return SignRecord(
        **dict(task),
        robustness=found.robustness.value,
        shown=tuple(sign.name for sign in found.shown),
        signs=tuple(
            {"name": sign.name, "count": sign.count, "of": sign.of, "p_value": sign.p_value}
            for sign in found.signs
        ),
        of=found.images,
        left=found.left,
        left_by_all=found.left_by_all,
        queries=found.queries,
        seconds=round(found.seconds, 2),
    )
