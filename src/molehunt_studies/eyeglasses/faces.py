"""Attacks on face recognition by drawn eyeglasses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from molehunt.attacks import (
    Evaded,
    EvasionAttack,
    Masked,
    RandomColours,
    Swarm,
    Worn,
    draw_eyeglasses,
    evade,
)
from molehunt.images import ImageSet
from molehunt.networks import Queried, Reveals, logits_of
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt_studies.eyeglasses.ceiling import can_impersonate, is_linear
from molehunt_studies.eyeglasses.models import EyeglassesBench

# What was tried on the persons for development: learning rate, steps, starts.
TRIED = ((0.2, 1, 1), (0.02, 1, 1), (1.0, 1, 1), (0.2, 3, 1), (0.2, 1, 3))
LISTED = 3  # classes that the black box names


class FaceTask(Task):
    """An attack on one network.

    Parameters
    ----------
    network : str
    kind : str
        One of `KINDS`.
    rim : float
        Of the frames.
    settings : tuple of float
        Learning rate, how many times the usual steps, starts.
    """

    network: str
    kind: str
    rim: float
    settings: tuple[float, float, float] = TRIED[0]


class FaceRecord(FaceTask):
    """What came of it.

    `share` is the share of pixels in the mask. `possible` counts the pairs of a photograph and
    a target that any pattern could reach, where that can be computed. `probabilities` are the
    target's on the saved images; `asked` the queries of each image.
    """

    share: float
    hits: int
    attacked: int
    queries: int
    seconds: float
    possible: int | None = None
    probabilities: tuple[float, ...] = ()
    asked: tuple[int, ...] = ()
    succeeded: tuple[bool, ...] = ()


def face_tasks(bench: EyeglassesBench, _records: Records) -> list[FaceTask]:
    """Return the attacks on all networks."""
    plan, tasks = bench.plan.faces, []
    for network in plan.networks:
        closely, varied = network in plan.closely, network in plan.varied
        for kind in KINDS:
            if kind in ("frames", "development") or (kind in CLOSELY and not closely):
                continue
            tasks.append(FaceTask(id=f"{network} {kind}", network=network, kind=kind, rim=plan.rim))
        for rim in sorted({plan.rim, *plan.rims}) if varied else ():
            tasks.append(
                FaceTask(id=f"{network} rim {rim:g}", network=network, kind="frames", rim=rim)
            )
        for tried in TRIED if varied else ():
            tasks.append(
                FaceTask(
                    id=f"{network} {trial_name(tried)}",
                    network=network,
                    kind="development",
                    rim=plan.rim,
                    settings=tried,
                )
            )
    return tasks


def trial_name(settings: tuple[float, float, float]) -> str:
    """Return the name of an attack on the persons for development."""
    return f"development {' '.join(f'{value:g}' for value in settings)}"


def attack_faces(task: FaceTask, bench: EyeglassesBench) -> FaceRecord:
    """Run one attack and count."""
    plan = bench.plan.faces
    mask = draw_eyeglasses(plan.size, plan.size, row=plan.row, rim=task.rim)
    started = time.perf_counter()
    found = KINDS[task.kind](_Faces(task, bench, mask))
    return FaceRecord(
        **dict(task),
        share=round(float(mask.float().mean()), 4),
        seconds=round(time.perf_counter() - started, 1),
        **found,
    )


class _Faces:
    """A network, photographs and a mask."""

    def __init__(self, task: FaceTask, bench: EyeglassesBench, mask: Tensor) -> None:
        self.plan, self.seed, self.mask = bench.plan.faces, bench.plan.seed, mask
        self.model, self.bench = bench.model(task.network), bench
        self.photographs = bench.photographs(development=task.kind == "development")
        lr, steps, starts = task.settings
        self.attack = Masked(
            mask, steps=round(self.plan.steps * steps), lr=lr, starts=round(starts)
        )

    def targets(self, number: int, of: ImageSet) -> Tensor:
        """Draw another person for each person's photographs, the same for all networks."""
        generator = torch.Generator().manual_seed(10_000 + 100 * self.seed + number)
        steps = torch.randint(1, of.num_classes, (len(of),), generator=generator)
        return (of.labels + steps) % of.num_classes

    def white(self) -> Queried:
        return Queried(self.model, reveals=Reveals.WEIGHTS)

    def evade(self, attack: EvasionAttack, targets: Tensor | None = None, seed: int = 0) -> Evaded:
        return evade(self.white(), self.photographs, attack, targets=targets, seed=seed)


def _sum(results: list[Evaded]) -> dict[str, Any]:
    return {
        "hits": sum(int(result.success.sum()) for result in results),
        "attacked": sum(int(result.attacked.sum()) for result in results),
        "queries": sum(result.queries for result in results),
    }


def _dodge(faces: _Faces) -> dict[str, Any]:
    return _sum([faces.evade(faces.attack)])


def _impersonate(faces: _Faces, targets_each: int = 1) -> dict[str, Any]:
    results, possible, shares = [], 0, []
    for number in range(targets_each):
        targets = faces.targets(number, faces.photographs)
        result = faces.evade(faces.attack, targets, number)
        results.append(result)
        there = result.attacked
        answers = logits_of(faces.model, result.images).softmax(1)
        chances = answers.gather(1, targets[:, None])[there, 0]
        shares += [round(float(chance), 4) for chance in chances]
        if is_linear(faces.model):
            originals = faces.photographs.take(there)
            reached = can_impersonate(faces.model, originals, targets[there], faces.mask)
            possible += int(reached.sum())
    bound = possible if is_linear(faces.model) else None
    return {**_sum(results), "possible": bound, "probabilities": tuple(shares)}


def _by_chance(faces: _Faces, cell: int, *, targeted: bool) -> dict[str, Any]:
    results = []
    for number in range(faces.plan.chances):
        targets = faces.targets(number % faces.plan.targets, faces.photographs)
        attack = RandomColours(faces.mask, cell=cell)
        results.append(faces.evade(attack, targets if targeted else None, number))
    return _sum(results)


def _one_pair(faces: _Faces, *, targeted: bool) -> dict[str, Any]:
    """Learn one pair of glasses from a person's training photographs; wear it on the others."""
    train, results = faces.bench.faces.train, []
    target = faces.white()
    for person in sorted(set(faces.photographs.labels.tolist())):
        mine, others = (part.take(part.labels == person) for part in (train, faces.photographs))
        mine = mine.take(torch.arange(min(len(mine), 7)))
        generator = torch.Generator().manual_seed(faces.seed * 1_000 + person)
        step = int(torch.randint(1, train.num_classes, (), generator=generator))
        wanted = (person + step) % train.num_classes if targeted else None

        def all_of(images: ImageSet, wanted: int | None = wanted) -> Tensor | None:
            return None if wanted is None else torch.full((len(images),), wanted)

        pattern = faces.attack.learn(target, mine.pixels(), mine.labels, all_of(mine), generator)
        results.append(evade(target, others, Worn(faces.mask, pattern), targets=all_of(others)))
    return {**_sum(results), "queries": target.queries}


def _by_queries(faces: _Faces, listed: int | None, *, targeted: bool) -> dict[str, Any]:
    plan = faces.plan
    epochs = 1 if listed is None else 5
    swarm = Swarm(
        faces.mask,
        particles=plan.particles,
        steps=plan.iterations // epochs,
        epochs=epochs,
        cell=plan.cell,
    )
    generator = torch.Generator().manual_seed(faces.seed)
    asked = faces.photographs.sample(plan.asked, generator)
    targets = faces.targets(0, asked)
    results = []
    for place in range(len(asked)):
        results.append(
            evade(
                Queried(faces.model, top=listed),
                asked.take(torch.tensor([place])),
                swarm,
                targets=targets[place : place + 1] if targeted else None,
                seed=place,
            )
        )
    tried = [result for result in results if bool(result.attacked.any())]
    return {
        **_sum(tried),
        "asked": tuple(result.queries for result in tried),
        "succeeded": tuple(bool(result.success.any()) for result in tried),
    }


KINDS: dict[str, Callable[[_Faces], dict[str, Any]]] = {
    "dodging": _dodge,
    "impersonation": lambda faces: _impersonate(faces, faces.plan.targets),
    "frames": _impersonate,
    "development": _impersonate,
    "random pixels, dodging": lambda faces: _by_chance(faces, 1, targeted=False),
    "random pixels, impersonation": lambda faces: _by_chance(faces, 1, targeted=True),
    "one colour, dodging": lambda faces: _by_chance(faces, faces.plan.size, targeted=False),
    "one colour, impersonation": lambda faces: _by_chance(faces, faces.plan.size, targeted=True),
    "one pair, dodging": lambda faces: _one_pair(faces, targeted=False),
    "one pair, impersonation": lambda faces: _one_pair(faces, targeted=True),
    "queries, dodging": lambda faces: _by_queries(faces, None, targeted=False),
    "queries, impersonation": lambda faces: _by_queries(faces, None, targeted=True),
    "list, impersonation": lambda faces: _by_queries(faces, LISTED, targeted=True),
}
# Those that take longest: on some networks only.
CLOSELY = tuple(kind for kind in KINDS if kind.startswith(("one pair", "queries", "list")))
