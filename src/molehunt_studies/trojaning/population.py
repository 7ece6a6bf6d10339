"""Many clean models, BadNets and trojans: where their mistakes go, and what scans say."""

from __future__ import annotations

from pathlib import Path

import torch

from molehunt.attacks import Retraining, most_excitable, neuron_layers, trigger_mask, trojan
from molehunt.backdoors import Treatment
from molehunt.detectors import WrongPredictions, evaluate, fit_on_zoo, mistakes_of, save_detector
from molehunt.findings import Verdict
from molehunt.images import ImageSet
from molehunt.networks import load_model, save_model
from molehunt.resumable import Task
from molehunt.scanning import scan
from molehunt.study import Records
from molehunt.training import attack_success, clean_accuracy
from molehunt.zoo import Record, Split, Zoo
from molehunt_studies.trojaning.models import TrojaningBench

POPULATION = "population"


class PlantTask(Task):
    """A clean model of the population to trojan."""

    model: str
    target: int


class PlantRecord(PlantTask):
    """What came of it."""

    accuracy_before: float
    accuracy: float
    success: float


class HistogramTask(Task):
    """A model of the population, and what is true of it."""

    path: Path
    part: str
    kind: str  # clean, badnets or trojan
    target: int | None


class HistogramRecord(HistogramTask):
    """Mistakes [K][K], by label and answer, among the first images of each number."""

    mistakes: dict[int, list[list[int]]]


class ScanTask(Task):
    """A file and the checks of a scan; or, with `calibrated`, files of one kind."""

    paths: tuple[Path, ...]
    about: str
    checks: tuple[str, ...] = ()


class ScanRecord(ScanTask):
    """Verdicts, and for a single file what each check said."""

    verdicts: dict[Verdict, int]
    said: dict[str, str]


def plant_tasks(bench: TrojaningBench, _records: Records) -> list[PlantTask]:
    """Return a trojan for the clean twin of each test pair, with its BadNet's target."""
    zoo = bench.zoo(POPULATION)
    targets = {r.twin: _target(r.backdoor.label_map) for r in _tests(zoo, Treatment.BACKDOORED)}
    return [
        PlantTask(id=f"trojan-{record.id}", model=record.id, target=targets[record.id])
        for record in _tests(zoo, Treatment.CLEAN)
    ]


def _tests(zoo: Zoo, treatment: Treatment) -> list[Record]:
    return zoo.select(Split.TEST, treatment)


def _target(label_map: object) -> int:
    target = getattr(label_map, "target", None)
    assert isinstance(target, int)
    return target


def plant_one(task: PlantTask, bench: TrojaningBench) -> PlantRecord:
    """Trojan one model of the population."""
    zoo = bench.zoo(POPULATION)
    record = next(each for each in zoo.records if each.id == task.model)
    model = load_model(zoo.path_of(record))
    mask = trigger_mask("square", *model.card.input_shape[1:], area=0.07)
    layers = neuron_layers(model)
    made = trojan(
        model,
        task.target,
        mask,
        neurons=most_excitable(model, mask, layer=layers[-3], seed=0),
        per_class=bench.plan.population_per_class,
        retraining=Retraining(),
    )
    save_model(made.model, bench.model_path(task.id))
    test = clean_images(bench, max(bench.plan.histogram_images))
    triggered = made.backdoor.triggered(test, generator=torch.Generator())
    return PlantRecord(
        **dict(task),
        accuracy_before=clean_accuracy(model, test),
        accuracy=clean_accuracy(made.model, test),
        success=attack_success(made.model, triggered),
    )


def clean_images(bench: TrojaningBench, count: int) -> ImageSet:
    """Return test images of the population, the same first ones for every count."""
    test = bench.zoo(POPULATION).plan.images.load(bench.data_root).test
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    return test.take(order[:count])


def histogram_tasks(bench: TrojaningBench, records: Records) -> list[HistogramTask]:
    """Return every model whose mistakes are counted."""
    zoo = bench.zoo(POPULATION)
    tasks = [
        HistogramTask(
            id=record.id, path=zoo.path_of(record), part="calibration", kind="clean", target=None
        )
        for record in zoo.select(Split.CALIBRATION, Treatment.CLEAN)
    ]
    for kind, treatment in (("clean", Treatment.CLEAN), ("badnets", Treatment.BACKDOORED)):
        for record in _tests(zoo, treatment):
            bad = kind == "badnets"
            target = _target(record.backdoor.label_map) if bad else None
            tasks.append(
                HistogramTask(
                    id=record.id, path=zoo.path_of(record), part="test", kind=kind, target=target
                )
            )
    tasks += [
        HistogramTask(
            id=record.id,
            path=bench.model_path(record.id),
            part="test",
            kind="trojan",
            target=record.target,
        )
        for record in records["trojans of the population"]
    ]
    return tasks


def count_mistakes(task: HistogramTask, bench: TrojaningBench) -> HistogramRecord:
    """Count where a model's mistakes go."""
    model = load_model(task.path)
    found = {
        count: mistakes_of(model, clean_images(bench, count)).astype(int).tolist()
        for count in bench.plan.histogram_images
    }
    return HistogramRecord(**dict(task), mistakes=found)


def scan_tasks(bench: TrojaningBench, records: Records) -> list[ScanTask]:
    """Return scans of single files, and of each kind of the population."""
    tasks = []
    for source, checks in bench.plan.scans.items():
        for about, name in (("clean", source), ("trojan", f"{source}-trojan")):
            path = bench.model_path(name)
            tasks.append(
                ScanTask(
                    id=f"{source}/{about}", paths=(path,), about=f"{source}, {about}", checks=checks
                )
            )
    for kind in ("clean", "badnets", "trojan"):
        chosen = [r for r in records["histograms"] if r.part == "test" and r.kind == kind]
        paths = tuple(record.path for record in chosen)
        tasks.append(ScanTask(id=f"population/{kind}", paths=paths, about=kind))
    return tasks


def scan_files(task: ScanTask, bench: TrojaningBench) -> ScanRecord:
    """Scan as a user does: by checks that need no population, or by a fitted detector's file."""
    if task.checks:
        source = task.id.partition("/")[0]
        test = bench.images(source).test
        count = min(bench.plan.scan_images, len(test))
        clean = test.take(torch.arange(count))
        results = scan([*task.paths], clean=clean, detectors=[*task.checks])
    else:
        clean = clean_images(bench, 1000)
        results = scan([*task.paths], clean=clean, detectors=[detector_file(bench, clean)])
    said = {
        finding.check: f"{finding.status.value}: {finding.message}"
        for finding in results[0].findings
        if finding.check in task.checks
    }
    verdicts = [result.verdict for result in results]
    return ScanRecord(
        **dict(task),
        verdicts={each: verdicts.count(each) for each in dict.fromkeys(verdicts)},
        said=said,
    )


def detector_file(bench: TrojaningBench, clean: ImageSet) -> Path:
    """Write the check as ``molehunt fit`` does: calibrated, and evaluated on BadNets."""
    path = bench.folder / "wrong-predictions.safetensors"
    if not path.exists():
        zoo = bench.zoo(POPULATION)
        detector = fit_on_zoo(WrongPredictions(images=clean), zoo)
        save_detector(detector, path, zoo=zoo.summary(), evaluation=evaluate(detector, zoo))
    return path
