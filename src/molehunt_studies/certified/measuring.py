"""Certificates and attacks on the networks of the study."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from molehunt.attacks import Loss, ProjectedGradient, evade
from molehunt.defences import BoundMethod, Smoothed, certify_box
from molehunt.images import ImageSet
from molehunt.networks import Queried, Reveals
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt_studies.certified.networks import CertifiedBench, name_of

Count = tuple[int, int]  # images for which something holds, and of how many


class BoxTask(Task):
    """A network to certify and to attack at one radius."""

    network: str
    kind: str
    epsilon: float
    images: int
    crown_images: int


class BoxRecord(BoxTask):
    """Counts of images, and seconds of the processor an image by method.

    `violations` are images that are certified and yet wrong, before or after the attack: there
    are none, or there is a bug.
    """

    clean: Count
    certified: dict[str, Count]
    attacked: Count
    violations: int
    seconds: dict[str, float]


def box_tasks(bench: CertifiedBench, _records: Records) -> list[BoxTask]:
    """Return each network at its own radius; then the points of the curves."""
    plan = bench.plan
    tasks = []
    for kind, trained in plan.networks():
        for epsilon in (trained,) if trained else plan.epsilons:
            name = name_of(kind, trained)
            tasks.append(
                BoxTask(
                    id=f"{name} at {epsilon}",
                    network=name,
                    kind=kind,
                    epsilon=epsilon,
                    images=plan.images,
                    crown_images=plan.crown_images,
                )
            )
    largest = max(plan.epsilons)
    for kind, trained in plan.networks():
        for radius in plan.radii if trained in (0.0, largest) else ():
            name = name_of(kind, trained)
            tasks.append(
                BoxTask(
                    id=f"{name} on the curve at {radius}",
                    network=name,
                    kind=kind,
                    epsilon=radius,
                    images=plan.curve_images,
                    crown_images=0,
                )
            )
    return tasks


def measure_box(task: BoxTask, bench: CertifiedBench) -> BoxRecord:
    """Certify by every method, attack, and hold them against each other."""
    plan = bench.plan
    model = bench.network(task.network)
    images = bench.first(plan.source, task.images)
    started = time.process_time()
    found = evade(
        Queried(model, reveals=Reveals.WEIGHTS),
        images,
        ProjectedGradient(
            epsilon=task.epsilon,
            steps=plan.attack_steps,
            restarts=plan.restarts,
            loss=Loss.MARGIN,
        ),
        seed=plan.seed,
    )
    seconds = {"attack": (time.process_time() - started) / len(images)}
    survived = found.predictions == images.labels
    certified: dict[str, Count] = {}
    violations = 0
    for method in BoundMethod:
        count = task.crown_images if method is BoundMethod.CROWN else len(images)
        if not count:
            continue
        few = images.take(torch.arange(count))
        started = time.process_time()
        holds = certify_box(model, few, epsilon=task.epsilon, method=method).certified
        seconds[method.value] = (time.process_time() - started) / count
        certified[method.value] = _count(holds)
        violations += int((holds & ~survived[:count]).sum())
    return BoxRecord(
        **dict(task),
        clean=_count(found.before == images.labels),
        certified=certified,
        attacked=_count(survived),
        violations=violations,
        seconds={name: round(value, 5) for name, value in seconds.items()},
    )


def _count(holds: Tensor) -> Count:
    return int(holds.sum()), len(holds)


class SmoothingTask(Task):
    """A network in noise to smooth."""

    source: str
    sigma: float


class SmoothingRecord(SmoothingTask):
    """Radii of the images that get their label (0 where the class is right but nothing holds)."""

    radii: list[float]
    abstained: int
    images: int
    n: int
    undefended: Count
    seconds: float


def smoothing_tasks(bench: CertifiedBench, _records: Records) -> list[SmoothingTask]:
    """Return every set of images with every deviation of the noise."""
    return [
        SmoothingTask(id=f"{source} at {sigma}", source=source, sigma=sigma)
        for source in bench.plan.smoothing
        for sigma in bench.plan.sigmas
    ]


def smooth(task: SmoothingTask, bench: CertifiedBench) -> SmoothingRecord:
    """Certify a smoothed network."""
    plan = bench.plan
    its = plan.smoothing[task.source]
    model = bench.network(f"noise-{task.source}-{task.sigma}")
    images = bench.first(task.source, its.images)
    started = time.process_time()
    found = Smoothed(model, task.sigma).certify(images, n0=plan.n0, n=its.n, seed=plan.seed)
    seconds = time.process_time() - started
    right = found.certified(0.0)
    return SmoothingRecord(
        **dict(task),
        radii=[round(float(radius), 5) for radius in found.radii[right]],
        abstained=int(found.abstained.sum()),
        images=len(images),
        n=its.n,
        undefended=_plain_accuracy(bench, task, images),
        seconds=round(seconds / len(images), 4),
    )


def _plain_accuracy(bench: CertifiedBench, task: SmoothingTask, images: ImageSet) -> Count:
    """Return how many images the base network recognises without noise."""
    model = bench.network(f"noise-{task.source}-{task.sigma}")
    with torch.no_grad():
        return _count(model(images.pixels()).argmax(1) == images.labels)


def share_within(radii: Sequence[float], images: int, radius: float) -> Count:
    """Return how many images are certified at a radius.

    Examples
    --------
    >>> share_within([0.1, 0.4, 0.6], 4, 0.25)
    (2, 4)
    """
    return sum(each >= radius for each in radii), images
