"""Scanners without a zoo, on held-out models: AUC, false alarms, seconds a model."""

from __future__ import annotations

from typing import Any

from molehunt.detectors import LitmusPatterns, evaluate, fit_on_zoo
from molehunt.resumable import Task
from molehunt.study import Records, Report, Stage, Study, ZooStage, zoo_figures
from molehunt.zoo import Split
from molehunt_studies.examinations import (
    ExaminationRecord,
    ExaminationTask,
    ZooBench,
    examination_tasks,
    examine,
)
from molehunt_studies.scanners.figures import auc_figure
from molehunt_studies.scanners.modelaudit import audit_zoos
from molehunt_studies.scanners.plan import SCALES, ScannersPlan
from molehunt_studies.scanners.results import evaluation_of, names_of, results_of

Bench = ZooBench[ScannersPlan]
DETECTORS = ("final-layer", "margin", "neural-cleanse", "pairwise")
# As `molehunt scan --clean` takes them by default.
TOGETHER = ("margin", "final-layer", "neural-cleanse")
# With 43 classes Neural Cleanse takes four times as long a model as with ten, and the
# pairwise search has 1,806 pairs in place of 90: hours for a zoo on two cores.
SEARCHES = ("neural-cleanse", "pairwise")
MOST_CLASSES_TO_SEARCH = 10


class LitmusTask(Task):
    """Litmus patterns to fit on the zoo `id` and to try on the zoos `alike`."""

    alike: tuple[str, ...]


class LitmusRecord(LitmusTask):
    """What they reach on each."""

    found: dict[str, Any]


def litmus_tasks(bench: Bench, _records: Records) -> list[LitmusTask]:
    """Return the zoos with a fitting part, each with the zoos of its images and networks."""
    zoos = bench.plan.zoos
    return [
        LitmusTask(
            id=name,
            alike=tuple(
                other
                for other, its in zoos.items()
                if (its.images, its.network) == (plan.images, plan.network)
            ),
        )
        for name, plan in zoos.items()
        if Split.FIT in plan.models
    ]


def fit_litmus(task: LitmusTask, bench: Bench) -> LitmusRecord:
    """Fit litmus patterns on one zoo; try them on zoos of its images."""
    detector = fit_on_zoo(LitmusPatterns(device="cpu"), bench.zoo(task.id))
    found = {name: evaluation_of(evaluate(detector, bench.zoo(name))) for name in task.alike}
    return LitmusRecord(**dict(task), found=found)


def detectors_of(bench: Bench) -> dict[str, list[str]]:
    """Return the detectors without a zoo that run on each zoo."""
    found = {}
    for name in bench.plan.zoos:
        zoo = bench.zoo(name)
        many = zoo.models(zoo.records[:1])[0].card.num_classes > MOST_CLASSES_TO_SEARCH
        found[name] = [each for each in DETECTORS if not (many and each in SEARCHES)]
    return found


def examinations(bench: Bench, _records: Records) -> list[ExaminationTask]:
    """Return what the detectors look at."""
    return examination_tasks(bench, detectors_of(bench))


def measures(bench: Bench, records: Records) -> dict[str, Any]:
    """Return the figures of every zoo and detector."""
    zoos = {name: bench.zoo(name) for name in bench.plan.zoos}
    program = bench.plan.modelaudit
    litmus: dict[str, Any] = {}
    for record in records["litmus"]:
        litmus = {**record.found, **litmus}
    return {
        "detectors": results_of(records["examinations"], detectors_of(bench), TOGETHER),
        "litmus": litmus,
        "modelaudit": None if program is None else audit_zoos(program, zoos),
        "zoos": {name: {**zoo_figures(zoo), "seed": zoo.plan.seed} for name, zoo in zoos.items()},
    }


SCANNERS = Study(
    name="scanners",
    title="Detectors that need no zoo, on held-out MNIST and GTSRB models.",
    scales=SCALES,
    bench=Bench,
    stages=(
        ZooStage("zoos", lambda bench: bench.plan.zoos, device="cpu"),
        Stage("examinations", examinations, examine, ExaminationRecord),
        Stage("litmus", litmus_tasks, fit_litmus, LitmusRecord),
    ),
    measures=measures,
    report=Report(
        package="molehunt_studies.scanners",
        figures=lambda results: {"auc": auc_figure(results)},
        words={"names_of": names_of},
    ),
)
