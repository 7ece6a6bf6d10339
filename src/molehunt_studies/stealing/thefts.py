"""The thefts, one a task."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import Field

from molehunt.attacks import (
    Choice,
    EquationSolving,
    Norm,
    PathFinding,
    ProjectedGradient,
    QueryAndTrain,
    Stolen,
    Transferred,
    evade,
    total_variation,
    uniform_images,
)
from molehunt.networks import Classifier, Queried, Reveals, load_model
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt.training import Recipe
from molehunt_studies.stealing.victims import StealingBench, linear_victim, tree_victim

_UNIFORM = 10_000
_EVASION = ProjectedGradient(epsilon=0.15, norm=Norm.LINF, steps=40)
_EVADED = 200  # images


class TheftTask(Task):
    """A theft: `part` says of what; the other fields how, where they mean something."""

    part: Literal["linear", "labels", "trees", "networks"]
    victim: str
    reveals: Reveals
    decimals: int | None = None
    queries: int | None = None
    images: str = ""  # of the thief
    choice: Choice = Choice.RANDOM
    network: str = ""
    leaves: int | None = None
    seed: int = 0


class TheftRecord(TheftTask):
    """What it came to; agreements as [count, of]."""

    asked: int
    on_test: tuple[int, int]
    on_uniform: tuple[int, int]
    total_variation: float | None = None
    has: int | None = Field(default=None, description="leaves of the victim")
    answers: int | None = Field(default=None, description="of these leaves, those that differ")
    found: int | None = Field(default=None, description="leaves of the copy")
    evasion: tuple[int, int] | None = None
    accuracy: float | None = None
    seconds: float


def theft_tasks(bench: StealingBench, _records: Records) -> list[TheftTask]:
    """Return every theft of the plan."""
    plan = bench.plan
    full, labels = Reveals.CONFIDENCES, Reveals.LABELS
    tasks = []
    linear = partial(TheftTask, part="linear")
    for table in plan.tables:
        tasks.append(linear(id=f"linear/{table}", victim=table, reveals=full))
        tasks += [
            linear(id=f"linear/{table}/{n}", victim=table, reveals=Reveals.ROUNDED, decimals=n)
            for n in plan.decimals
        ]
    for count in plan.label_queries:
        for choice in (Choice.RANDOM, Choice.LINE_SEARCH):
            name = f"labels/{choice}/{count}"
            how = {"queries": count, "choice": choice, "images": "uniform noise"}
            tasks.append(TheftTask(id=name, part="labels", victim="digits", reveals=labels, **how))
    for table in plan.tables:
        for leaves in plan.leaves:
            name = f"trees/{table}/{leaves}"
            tasks.append(
                TheftTask(id=name, part="trees", victim=table, reveals=full, leaves=leaves)
            )
    own = bench.network[0]
    cells = [
        (full, "like the victim's", Choice.RANDOM, own),
        (labels, "like the victim's", Choice.RANDOM, own),
        (full, "like the victim's", Choice.UNCERTAIN, own),
        (labels, "like the victim's", Choice.UNCERTAIN, own),
        (full, "of other things", Choice.RANDOM, own),
        (full, "uniform noise", Choice.RANDOM, own),
        (full, "uniform noise", Choice.LINE_SEARCH, own),
        (full, "like the victim's", Choice.RANDOM, "mlp"),
    ]
    for reveals, images, choice, network in cells:
        for count in plan.queries:
            for seed in range(plan.replicates):
                words = (reveals, images.split()[0], choice, network, count, seed)
                tasks.append(
                    TheftTask(
                        id="networks/" + "/".join(map(str, words)),
                        part="networks",
                        victim="network",
                        reveals=reveals,
                        queries=count,
                        images=images,
                        choice=choice,
                        network=network,
                        seed=seed,
                    )
                )
    return tasks


def steal(task: TheftTask, bench: StealingBench) -> TheftRecord:
    """Steal once, and compare the copy with the original."""
    if task.part == "networks":
        return _steal_network(task, bench)
    if task.part == "trees":
        assert task.leaves is not None
        victim = tree_victim(task.victim, task.leaves)
    else:
        victim = linear_victim(task.victim)
    target = Queried(victim.model, reveals=task.reveals, decimals=task.decimals or 2)
    pixels = victim.test[0].numel()
    if task.part == "trees":
        stolen = PathFinding().steal(target)
    elif task.part == "linear":
        count = (pixels + 1) * (1 if task.decimals is None else bench.plan.more)
        stolen = EquationSolving(queries=count).steal(target)
    else:
        assert task.queries is not None
        stolen = QueryAndTrain(
            task.queries,
            "mlp",
            {"hidden": []},
            choice=task.choice,
            rounds=10,
            recipe=Recipe(epochs=bench.plan.epochs, batch_size=64, lr=0.05, weight_decay=0.0),
        ).steal(target)
    record = _record(task, stolen, target, victim.test)
    variation = total_variation(stolen.model, victim.model, victim.test)
    found = stolen.model.card.arguments.get("leaves")
    return record.model_copy(
        update={
            "total_variation": variation,
            "has": victim.leaves,
            "answers": victim.answers,
            "found": found,
            "accuracy": victim.accuracy,
        }
    )


def _steal_network(task: TheftTask, bench: StealingBench) -> TheftRecord:
    assert task.queries is not None
    pools = {"like the victim's": bench.thiefs.images, "of other things": bench.others}
    pool = pools.get(task.images)
    order = torch.Generator().manual_seed(task.seed)
    if pool is not None:
        pool = pool[torch.randperm(len(pool), generator=order)]
    name, arguments = bench.network
    theft = QueryAndTrain(
        task.queries,
        task.network,
        {"hidden": [256]} if task.network != name else arguments,
        pool=pool,
        choice=task.choice,
        recipe=Recipe(epochs=bench.plan.epochs, batch_size=64, shift=2),
        seed=task.seed,
    )
    target = Queried(load_model(bench.model_path("victim")), reveals=task.reveals)
    stolen = theft.steal(target)
    record = _record(task, stolen, target, bench.test.images)
    return record.model_copy(update={"evasion": evade_by(stolen.model, target, bench)})


def evade_by(copy: Classifier, target: Queried, bench: StealingBench) -> tuple[int, int]:
    """Return how many images, made to fool a copy, fool the original, of how many."""
    shown = bench.test.take(torch.arange(min(_EVADED, len(bench.test))))
    evaded = evade(target, shown, Transferred(_EVASION, copy))
    return int(evaded.success.sum()), int(evaded.attacked.sum())


def _record(task: TheftTask, stolen: Stolen, target: Queried, test: torch.Tensor) -> TheftRecord:
    uniform = uniform_images(target.input_shape, _UNIFORM, seed=99)
    counts = []
    for images in (test, uniform):
        share = stolen.agreement(target, images)[0]
        counts.append((round(share * len(images)), len(images)))
    return TheftRecord(
        **dict(task),
        asked=stolen.queries,
        on_test=counts[0],
        on_uniform=counts[1],
        seconds=round(stolen.seconds, 2),
    )
