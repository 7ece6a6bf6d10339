"""Networks with and without trapdoors, and what is flagged of clean and noisy images."""

from __future__ import annotations

import time

import torch

from molehunt.backdoors import Treatment
from molehunt.images import ImageSet
from molehunt.networks import build_classifier, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt.training import train
from molehunt_studies.trapdoors.bench import WITH, WITHOUT, Count, TrapdoorBench, count


class NetworkTask(Task):
    """A network to train; the twin sees the same copies without trapdoors and labels."""

    kind: str
    seed: int


class NetworkRecord(NetworkTask):
    """What it does with clean, trapdoored and noisy images; noise counts what stays right.

    `easy_false_alarms` are those under the authors' null; see `TrapdoorBench.easy_flags`.
    """

    accuracy: Count
    opened: Count
    flagged_trapdoors: Count
    false_alarms: Count
    easy_false_alarms: Count
    noise: dict[str, Count]
    seconds: float


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
    model, parts = bench.watch(task.id, task.seed).model, bench.parts(task.seed)
    held_out = parts.held_out
    tested = held_out.joined(parts.others)
    shown = trapdoors.triggered(parts.attacked, generator=generator)
    opened = shown.succeeded(logits_of(model, shown.images.images).argmax(1))

    def flags(images: torch.Tensor) -> torch.Tensor:
        return bench.flags(task.id, task.seed, images)

    noise = {}
    for largest in plan.noise:
        noisy = _add_noise(held_out, largest, generator)
        right = logits_of(model, noisy).argmax(1) == held_out.labels
        noise[f"{largest:.3g}"] = count(flags(noisy)[right])
    return NetworkRecord(
        **dict(task),
        accuracy=count(logits_of(model, tested.images).argmax(1) == tested.labels),
        opened=count(opened),
        flagged_trapdoors=count(flags(shown.images.images)[opened]),
        false_alarms=count(flags(held_out.images)),
        easy_false_alarms=count(bench.easy_flags(task.id, task.seed, held_out.images)),
        noise=noise,
        seconds=round(seconds, 1),
    )


def _add_noise(images: ImageSet, largest: float, generator: torch.Generator) -> torch.Tensor:
    """Return images, uint8, with even noise of each pixel up to a largest change."""
    change = largest * (2 * torch.rand(images.images.shape, generator=generator) - 1)
    return ((images.pixels() + change).clamp(0, 1) * 255).round().to(torch.uint8)
