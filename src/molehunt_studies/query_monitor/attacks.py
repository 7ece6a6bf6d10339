"""The attacks: once without a guard, every query written down, and then through one."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from molehunt.attacks import (
    Choice,
    EquationSolving,
    EvasionAttack,
    Norm,
    QueryAndTrain,
    Swarm,
    draw_sticker,
    evade,
    new_attack,
)
from molehunt.guard import Action, Blinded, Guard, Guarded, Logged, replay
from molehunt.networks import Classifier, Queried, Reveals
from molehunt.training import Recipe
from molehunt_studies.query_monitor.bench import QueryMonitorBench
from molehunt_studies.query_monitor.plan import (
    KINDS,
    VARIANTS,
    AttackTask,
    LiveTask,
)

_STARTS = 20
_THEFT = Recipe(epochs=5, batch_size=64, lr=0.005)


class AttackRecord(AttackTask):
    """What an attack did without a guard, and when monitors would have seen it.

    `firsts` are for each number of accounts, in the plan's order, the first alarm of each
    monitor, and of any.
    """

    success: bool | None  # None for a theft
    size: float | None
    queries: int
    firsts: dict[str, list[int | None]]
    flagged: dict[str, list[int]]
    seconds: float


class LiveRecord(LiveTask):
    """What an attack did through a guard; `flagged` are accounts."""

    success: bool
    size: float | None
    asked: int
    flagged: int
    first: int | None
    seconds: float


def run_attack(task: AttackTask, bench: QueryMonitorBench) -> AttackRecord:
    """Run an attack that nothing stops, and replay its queries from numbers of accounts."""
    started, plan = time.perf_counter(), bench.plan
    linear = task.attack == "equation-solving"
    logged = Logged(bench.network("linear" if linear else "network"))
    front = _front(logged, task)
    success, size = None, None
    if KINDS[task.attack] == "stealing":
        _steal(task, front, bench)
    else:
        success, size = _evade(task.attack, front, bench, task.number)
    found = replay(logged.log(), bench.monitors("images"), plan.accounts)
    names = list(dict.fromkeys(item.monitor for item in found))
    return AttackRecord(
        **dict(task),
        success=success,
        size=size,
        queries=len(logged.log()),
        firsts={name: [item.first for item in found if item.monitor == name] for name in names},
        flagged={name: [item.flagged for item in found if item.monitor == name] for name in names},
        seconds=round(time.perf_counter() - started, 2),
    )


def run_live(task: LiveTask, bench: QueryMonitorBench) -> LiveRecord:
    """Run an attack through a guard."""
    started = time.perf_counter()
    action = Action.LOG if task.action == "none" else Action(task.action)
    guard = Guard(bench.monitors("images"), action=action)
    guarded = Guarded(bench.network(), guard, accounts=task.accounts)
    success, size = _evade(task.attack, _front(guarded, task), bench, task.number)
    return LiveRecord(
        **dict(task),
        success=success,
        size=size,
        asked=guarded.asked,
        flagged=len(guarded.flagged),
        first=min(guarded.flagged.values(), default=None),
        seconds=round(time.perf_counter() - started, 2),
    )


def _front(model: Classifier, task: AttackTask | LiveTask) -> Classifier:
    """Return the model as the attacker asks it: through variants of the queries, or as it is."""
    if task.variant == "as it is":
        return model
    reveals = Reveals.LABELS if KINDS[task.attack] == "decision" else Reveals.CONFIDENCES
    variant = VARIANTS[task.variant].model_dump()
    return Blinded(model, **variant, reveals=reveals, seed=task.number)


def _evade(
    name: str, model: Classifier, bench: QueryMonitorBench, number: int
) -> tuple[bool, float | None]:
    """Attack an image; return whether that succeeded and the size of the change, if it did."""
    attack = _attack(name, bench)
    target = Queried(model, reveals=attack.needs)
    found = evade(target, bench.attacked(number), attack, seed=bench.plan.seed + number)
    if not bool(found.success.any()):
        return False, None
    return True, round(float(found.sizes(attack.norm or Norm.LINF)[0]), 4)


def _attack(name: str, bench: QueryMonitorBench) -> EvasionAttack:
    plan = bench.plan
    if name == "swarm":
        _, height, width = bench.parts["test"].shape
        return Swarm(draw_sticker(height, width, size=(0.25, 0.25)))
    if name == "random-squares":
        return new_attack(name, norm=Norm.LINF, epsilon=plan.linf, queries=plan.squares_queries)
    if name == "salt-and-pepper":
        return new_attack(name, steps=plan.salt_steps)
    steps = {"hopskipjump": plan.hopskipjump_steps, "boundary": plan.boundary_steps}
    # They begin at an image of another class that the attacker has; only near ends count.
    starts = bench.parts["honest"].pixels()[:_STARTS]
    return new_attack(name, norm=Norm.L2, epsilon=plan.l2, steps=steps[name], starts=starts)


def _steal(task: AttackTask, model: Classifier, bench: QueryMonitorBench) -> None:
    plan = bench.plan
    target = Queried(model, reveals=Reveals.CONFIDENCES)
    if task.attack == "equation-solving":
        EquationSolving().steal(target)
        return
    pool: Tensor | None = None
    if task.attack == "knockoff":
        drawn = torch.Generator().manual_seed(plan.seed + 50 + task.number)
        pool = bench.parts["honest"].sample(plan.theft_queries, drawn).images
    choice = Choice.LINE_SEARCH if task.attack == "line-search" else Choice.RANDOM
    QueryAndTrain(
        plan.theft_queries,
        "mlp",
        {"hidden": [32]},
        pool=pool,
        choice=choice,
        recipe=_THEFT,
        seed=plan.seed + task.number,
    ).steal(target)
