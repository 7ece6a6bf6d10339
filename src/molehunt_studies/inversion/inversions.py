"""The inversions, and who recognises what they draw."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from molehunt.attacks import EquationSolving, Inverted, ModelInversion, Prior
from molehunt.networks import Classifier, Queried, Reveals, logits_of
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt_studies.inversion.networks import JUDGE, InversionBench


@dataclass(frozen=True)
class Way:
    """An attack's settings, and what it sees."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    reveals: Reveals = Reveals.WEIGHTS


_CELLS = {"views": 1, "steps": 50, "lr": 0.05, "stop_at": 0.999}
_PIXELS = {"views": 0, "steps": 3, "lr": 0.1, "cell": 1}
VIEWS = "gradients, views and denoising"
UNTRAINED = "gradients of an untrained network"
COPY = "a copy first, then its gradients"
BY_PIXEL = "questions about each pixel"
CELLS = "questions about cells"
ROUNDED = "questions about cells, two decimals"
ATTACKS = {
    VIEWS: Way(),
    "gradients, views and denoising, until 0.999": Way({"stop_at": 0.999}),
    "gradients, denoising": Way({"views": 0}),
    "gradients, nearly as in the paper": Way({"views": 0, "denoise": 0.0}),
    "gradients, views and deep image prior": Way({"prior": Prior.DEEP_IMAGE}),
    BY_PIXEL: Way(_PIXELS, Reveals.CONFIDENCES),
    CELLS: Way(_CELLS, Reveals.CONFIDENCES),
    ROUNDED: Way(_CELLS, Reveals.ROUNDED),
    COPY: Way(),
    UNTRAINED: Way(),
}
# What was tried on the classes for development.
TRIED = {
    "no views, no denoising": Way({"views": 0, "denoise": 0.0}),
    "no views, denoising 3.5 %": Way({"views": 0}),
    "views, no denoising": Way({"denoise": 0.0}),
    "views, denoising 3.5 %": Way(),
    "views, denoising 5 %": Way({"denoise": 0.05}),
    "views, denoising 3.5 %, variation 10": Way({"total_variation": 10.0}),
    "views, denoising 3.5 %, until 0.999": Way({"stop_at": 0.999}),
    "views, deep image prior": Way({"prior": Prior.DEEP_IMAGE}),
}


class InversionTask(Task):
    """An inversion of all classes of a part."""

    images: str
    network: str
    attack: str
    development: bool = False


class InversionRecord(InversionTask):
    """What came of it: of `classes`, whom the judge recognises and whose mean image is nearest."""

    classes: tuple[int, ...]
    recognised: tuple[bool, ...]
    nearest: tuple[bool, ...]
    confidences: tuple[float, ...]
    queries: int
    seconds: float
    note: str = ""
    pictures: tuple[tuple[int, ...], ...] = ()  # of digits only: pixels, a row an image


def inversion_tasks(bench: InversionBench, _records: Records) -> list[InversionTask]:
    """Return every inversion: what chooses settings, and what is reported."""
    tasks = []
    for images, plan in bench.plan.sets.items():
        for network in plan.networks:
            for development in (False, True) if plan.development else (False,):
                tasks += [
                    InversionTask(
                        id=f"{images}/{network}/{name}{'/development' * development}",
                        images=images,
                        network=network,
                        attack=name,
                        development=development,
                    )
                    for name in (TRIED if development else ATTACKS)
                    if _runs_on(name, network, closely=network in plan.closely)
                ]
    return tasks


def _runs_on(attack: str, network: str, *, closely: bool) -> bool:
    """Tell whether an attack fits a network, and the time that there is for it."""
    if attack == COPY:
        return network == "softmax"
    if attack == CELLS:
        return network != "CNN"  # its many questions take long
    return closely or attack not in (BY_PIXEL, ROUNDED)


def invert(task: InversionTask, bench: InversionBench) -> InversionRecord:
    """Run one, and have its images judged."""
    plan = bench.plan.sets[task.images]
    count = bench.images_of(task.images).train.num_classes
    classes = range(plan.development) if task.development else range(plan.development, count)
    started = time.perf_counter()
    found, queries = _run(task, bench, [*classes])
    seconds = time.perf_counter() - started
    judge = bench.network(task.images, JUDGE)
    said = logits_of(judge, stretch(found.images)).argmax(1)
    near = nearest(found.images, bench.means(task.images))
    shown = task.images == "digits" and not task.development
    return InversionRecord(
        **dict(task),
        classes=tuple(classes),
        recognised=tuple((said == found.classes).tolist()),
        nearest=tuple((near == found.classes).tolist()),
        confidences=tuple(round(value, 4) for value in found.confidences.tolist()),
        queries=queries,
        seconds=round(seconds, 2),
        note=found.note,
        pictures=tuple(tuple(image) for image in found.images.flatten(1).tolist()) if shown else (),
    )


def _run(
    task: InversionTask, bench: InversionBench, classes: Sequence[int]
) -> tuple[Inverted, int]:
    """Return what an attack finds, and all its questions."""
    plan = bench.plan.sets[task.images]
    if task.attack == UNTRAINED:
        model: Classifier = bench.untrained(task.images, task.network)
    else:
        model = bench.network(task.images, task.network)
    way = TRIED[task.attack] if task.development else ATTACKS[task.attack]
    attack = ModelInversion(**{"steps": plan.steps, "cell": plan.cell, **way.settings})
    asked = 0
    if task.attack == COPY:
        stolen = EquationSolving().steal(Queried(model))
        model, asked = stolen.model, stolen.queries
    found = attack.invert(Queried(model, reveals=way.reveals, decimals=2), classes)
    return found, asked or found.queries


def stretch(images: Tensor) -> Tensor:
    """Return uint8 images [N, C, H, W], each with its contrast stretched, as eyes and screens do.

    The darkest and the brightest hundredth of the pixels become black and white.
    """
    flat = images.flatten(1).float()
    low, high = (flat.quantile(share, dim=1, keepdim=True) for share in (0.01, 0.99))
    spread = ((flat - low) / (high - low).clamp_min(1)).clamp(0, 1) * 255
    return spread.round().to(torch.uint8).view(images.shape)


def nearest(images: Tensor, means: Tensor) -> Tensor:
    """Return for each image the class whose mean image it correlates with the most, [N]."""
    both: list[Tensor] = []
    for each in (images.flatten(1).float(), means.flatten(1).float()):
        centred = each - each.mean(1, keepdim=True)
        both.append(centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-6))
    return torch.mm(both[0], both[1].T).argmax(1)
