"""What is measured on the networks of the sets: corner cases, boundary, coverage, searches."""

from __future__ import annotations

import time

import torch

from molehunt.resumable import Task
from molehunt.study import Records
from molehunt.testing import (
    Constraint,
    CoverageMeter,
    Criterion,
    Strategy,
    find_boundary,
    measure_corruptions,
    search_differences,
    search_failures,
    usual_corruptions,
    walk_lines,
)
from molehunt_studies.testing.bench import TestingBench
from molehunt_studies.testing.plan import LENETS

Counts = tuple[int, int]  # so many, of so many


class DifferenceTask(Task):
    """A search for differences among the LeNets."""

    constraint: Constraint
    coverage_weight: float
    difference_weight: float = 1.0


class DifferenceRecord(DifferenceTask):
    """What it found; `activated` counts neurons, of LeNet-5, that as many images activate."""

    disputed: Counts
    found: Counts
    passes: int
    seconds: float
    activated_by_found: Counts
    activated_by_clean: Counts


class SetTask(Task):
    """The network of a set, by its name."""


class CornerRecord(SetTask):
    """Right images at severities 0 to 5, by corruption."""

    right: dict[str, tuple[int, ...]]
    of: int


class BoundaryRecord(SetTask):
    """Distances (None where nothing was found), and the classes on lines."""

    gradients: tuple[float | None, ...]
    lines: tuple[float | None, ...]
    third: Counts


class CoverageRecord(SetTask):
    """Covered cells by criterion and by what was shown: clean images, worse ones, noise."""

    shares: dict[str, dict[Criterion, Counts]]


class SearchTask(Task):
    """One search; `keep` is the coin of the walk."""

    images: str
    strategy: Strategy
    replicate: int
    keep: float = 0.5


class SearchRecord(SearchTask):
    """What it found."""

    found: int
    eligible: int
    passes: int
    kept: float
    kinds: int
    seconds: float


def difference_tasks(bench: TestingBench, _records: Records) -> list[DifferenceTask]:
    """Return each constraint with the usual weights, without coverage, with a stronger push."""
    return [
        DifferenceTask(
            id=f"{constraint}-{weight:g}" + ("" if push == 1 else f"-{push:g}"),
            constraint=constraint,
            coverage_weight=weight,
            difference_weight=push,
        )
        for constraint in Constraint
        for weight, push in ((0.1, 1.0), (0.0, 1.0), (0.1, 3.0))
    ]


def find_differences(task: DifferenceTask, bench: TestingBench) -> DifferenceRecord:
    """Search on the LeNets, and count what the found images activate."""
    plan = bench.plan
    models = {name: bench.network(name) for name in LENETS}
    seeds = bench.test(plan.first, plan.differences)
    found = search_differences(
        models,
        seeds,
        constraint=task.constraint,
        coverage_weight=task.coverage_weight,
        difference_weight=task.difference_weight,
        seed=plan.seed,
    )
    images = found.images[found.found]
    clean = bench.test(plan.first, len(images), first=plan.differences).images
    return DifferenceRecord(
        **dict(task),
        disputed=(int((~found.agreed).sum()), len(seeds)),
        found=(len(images), int(found.agreed.sum())),
        passes=found.passes,
        seconds=round(found.seconds, 2),
        activated_by_found=_activated(bench, images),
        activated_by_clean=_activated(bench, clean),
    )


def _activated(bench: TestingBench, images: torch.Tensor) -> Counts:
    meter = CoverageMeter(bench.network("lenet-5"), criteria=[Criterion.ACTIVATED])
    if len(images):
        meter.add(images)
    (covered,) = meter.coverage()
    return covered.covered, covered.of


def set_tasks(bench: TestingBench, _records: Records) -> list[SetTask]:
    """Return the sets."""
    return [SetTask(id=name) for name in bench.plan.sets]


def measure_corners(task: SetTask, bench: TestingBench) -> CornerRecord:
    """Measure every usual corruption."""
    clean = bench.test(task.id, bench.plan.count)
    names = usual_corruptions(clean.shape[0])
    curves = measure_corruptions(bench.network(task.id), clean, names, seed=bench.plan.seed)
    return CornerRecord(
        id=task.id, right={each.corruption: each.right for each in curves}, of=len(clean)
    )


def measure_boundary(task: SetTask, bench: TestingBench) -> BoundaryRecord:
    """Measure distances both ways, and walk lines."""
    clean, model = bench.test(task.id, bench.plan.boundary), bench.network(task.id)
    sizes = [
        [round(size, 4) if size < float("inf") else None for size in found.distances.tolist()]
        for found in (
            find_boundary(model, clean, method=method, seed=bench.plan.seed)
            for method in ("gradients", "lines")
        )
    ]
    lines = walk_lines(model, clean, lines=bench.plan.boundary, seed=bench.plan.seed)
    return BoundaryRecord(
        id=task.id,
        gradients=tuple(sizes[0]),
        lines=tuple(sizes[1]),
        third=(int(lines.third.sum()), len(lines.classes)),
    )


def measure_coverage(task: SetTask, bench: TestingBench) -> CoverageRecord:
    """Count the coverage of as many clean images, and images of uniform noise."""
    plan, model = bench.plan, bench.network(task.id)
    clean = bench.test(task.id, plan.count).images
    drawn = torch.Generator().manual_seed(plan.seed)
    noise = torch.randint(0, 256, clean.shape, generator=drawn, dtype=torch.uint8)
    profile = bench.images_of(task.id).train.images[:1000]
    shares = {}
    few = {"clean images": clean, "a tenth of them": clean[: len(clean) // 10], "noise": noise}
    for name, images in few.items():
        meter = CoverageMeter(model, profile)
        meter.add(images)
        shares[name] = {each.criterion: (each.covered, each.of) for each in meter.coverage()}
    return CoverageRecord(id=task.id, shares=shares)


def guided_tasks(bench: TestingBench, _records: Records) -> list[SearchTask]:
    """Return the searches that do not depend on others."""
    free = (Strategy.RANDOM, Strategy.COVERAGE, Strategy.MARGIN)
    return [_search_task(bench, name, strategy) for name, strategy in _cells(bench, free)]


def walk_tasks(bench: TestingBench, records: Records) -> list[SearchTask]:
    """Return the walks, which keep as many as the search by coverage kept."""
    kept = {
        (each.images, each.replicate): each.kept
        for each in records["searches"]
        if each.strategy is Strategy.COVERAGE
    }
    return [
        _search_task(bench, place, Strategy.WALK).model_copy(update={"keep": kept[place]})
        for place, _ in _cells(bench, (Strategy.WALK,))
    ]


def _cells(
    bench: TestingBench, strategies: tuple[Strategy, ...]
) -> list[tuple[tuple[str, int], Strategy]]:
    plan = bench.plan
    return [
        ((name, replicate), strategy)
        for name in plan.searched
        for strategy in strategies
        for replicate in range(plan.replicates)
    ]


def _search_task(bench: TestingBench, place: tuple[str, int], strategy: Strategy) -> SearchTask:
    name, replicate = place
    return SearchTask(
        id=f"{name}-{strategy}-{replicate}", images=name, strategy=strategy, replicate=replicate
    )


def search(task: SearchTask, bench: TestingBench) -> SearchRecord:
    """Search from images that each replicate has of its own, the same for all strategies."""
    plan = bench.plan
    started = time.perf_counter()
    found = search_failures(
        bench.network(task.images),
        bench.test(task.images, plan.seeds, first=task.replicate * plan.seeds),
        strategy=task.strategy,
        passes=plan.passes,
        profile=bench.images_of(task.images).train.images[:1000],
        keep=task.keep,
        seed=plan.seed + task.replicate,
    )
    pairs = torch.stack([found.labels, found.predictions])
    return SearchRecord(
        **dict(task),
        found=len(found.sources),
        eligible=found.eligible,
        passes=found.passes,
        kept=round(found.kept, 4),
        kinds=pairs.unique(dim=1).shape[1],  # type: ignore[no-untyped-call]
        seconds=round(time.perf_counter() - started, 2),
    )
