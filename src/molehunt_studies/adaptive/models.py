"""Detectors, the models of attackers who know them, and what each detector says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from molehunt.backdoors import Treatment
from molehunt.detectors import (
    Detector,
    Evading,
    LitmusPatterns,
    MaximumMargin,
    NoisePatterns,
    WeightStatistics,
    fit_on_zoo,
    load_detector,
    save_detector,
)
from molehunt.images import TrainTest
from molehunt.networks import Classifier, build_classifier, load_model, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import attack_success, clean_accuracy, train
from molehunt.zoo import Record, Split, Zoo, is_backdoored
from molehunt_studies.adaptive.plan import AdaptivePlan

# What the defender has; an attacker knows the first three at most.
FRESH = ("litmus", "margin", "statistics", "litmus, other seed", "noise")
TAUGHT = "litmus, taught"


class DetectorTask(Task):
    """A detector to fit; `id` is its name."""


class DetectorRecord(DetectorTask):
    """How long it took."""

    seconds: float


class AttackerTask(Task):
    """A backdoored model to train against a detector; the zoo's `record` has its backdoor."""

    evaded: str
    strength: float
    record: str


class AttackerRecord(AttackerTask):
    """What became of it."""

    accuracy: float
    success: float
    seconds: float


class JudgingTask(Task):
    """A detector that judges every model; `id` is its name."""


class JudgingRecord(JudgingTask):
    """Scores and p-values by the names of models."""

    scores: dict[str, float]
    p_values: dict[str, float]


@dataclass(frozen=True)
class AdaptiveBench(Bench[AdaptivePlan]):
    """The population, the images, detectors from their files."""

    @property
    def population(self) -> Zoo:
        """The zoo of the plan."""
        return self.zoo("zoo")

    @cached_property
    def images(self) -> TrainTest:
        """The images that all models are trained and measured on."""
        return self.plan.zoo.images.load(self.data_root)

    def select(self, split: Split, treatment: Treatment, count: int | None = None) -> list[Record]:
        """Return the first models of a part of the zoo."""
        return self.population.select(split, treatment)[:count]

    def detector(self, name: str) -> Detector:
        """Return a fitted detector."""
        return load_detector(self.detector_path(name))[0]

    def detector_path(self, name: str) -> Path:
        """Return the file of a detector."""
        stem = name.replace(", ", "-").replace(" ", "-")
        return self.folder / "detectors" / f"{stem}.safetensors"


def detector_tasks(_bench: AdaptiveBench, _records: Records) -> list[DetectorTask]:
    """Return the detectors that are fitted on the population alone."""
    return [DetectorTask(id=name) for name in FRESH]


def fit_detector(task: DetectorTask, bench: AdaptiveBench) -> DetectorRecord:
    """Fit and calibrate a detector."""
    made: dict[str, Detector] = {
        "litmus": LitmusPatterns(epochs=bench.plan.epochs, device="cpu"),
        "margin": MaximumMargin(starts=2, steps=50, device="cpu"),
        "statistics": WeightStatistics(),
        "litmus, other seed": LitmusPatterns(
            epochs=bench.plan.epochs, random_state=1, device="cpu"
        ),
        "noise": NoisePatterns(device="cpu"),
    }
    started = time.process_time()
    fitted = fit_on_zoo(made[task.id], bench.population)
    return _save(task, fitted, bench, started)


def attacker_tasks(bench: AdaptiveBench, _records: Records) -> list[AttackerTask]:
    """Return every attacker on a detector that is fitted on the population alone."""
    plan = bench.plan
    return [
        _attacker(evaded, strength, record)
        for evaded in plan.evaded
        for strength in plan.strengths
        if strength
        for record in bench.select(Split.TEST, Treatment.BACKDOORED, plan.attackers)
    ]


def lesson_tasks(bench: AdaptiveBench, _records: Records) -> list[AttackerTask]:
    """Return evading models from which the defender learns."""
    plan = bench.plan
    return [
        _attacker("litmus", plan.lesson_strength, record)
        for record in bench.select(Split.FIT, Treatment.BACKDOORED, plan.lessons)
    ]


def taught_tasks(_bench: AdaptiveBench, _records: Records) -> list[DetectorTask]:
    """Return the detector that also learns from evading models."""
    return [DetectorTask(id=TAUGHT)]


def teach_detector(task: DetectorTask, bench: AdaptiveBench) -> DetectorRecord:
    """Fit litmus patterns on the population and on evading models; calibrate."""
    plan, zoo = bench.plan, bench.population
    started = time.process_time()
    models, truth = zoo.labelled(Split.FIT)
    lessons = [load_model(bench.model_path(each.id)) for each in lesson_tasks(bench, {})]
    detector = LitmusPatterns(epochs=plan.epochs, random_state=2, device="cpu")
    detector.fit([*models, *lessons], [*truth, *[1] * len(lessons)])
    known, of_known = zoo.labelled(Split.CALIBRATION)
    return _save(task, detector.calibrate(known, of_known), bench, started)


def second_tasks(bench: AdaptiveBench, _records: Records) -> list[AttackerTask]:
    """Return attackers on the detector that was taught."""
    plan = bench.plan
    return [
        _attacker(TAUGHT, plan.lesson_strength, record)
        for record in bench.select(Split.TEST, Treatment.BACKDOORED, plan.attackers)
    ]


def train_attacker(task: AttackerTask, bench: AdaptiveBench) -> AttackerRecord:
    """Train a backdoored model against a detector, and measure it on the saved file."""
    record = next(each for each in bench.population.records if each.id == task.record)
    started = time.process_time()
    recipe = bench.plan.zoo.recipe.model_copy(update={"precision": "float32"})
    seed = record.seed % 2**31
    generator = torch.Generator().manual_seed(seed)
    poisoned = record.backdoor.poison(bench.images.train, generator=generator)
    network = bench.plan.zoo.network
    model = build_classifier(
        network.name, bench.images.train, arguments=network.arguments, seed=seed
    )
    evaded = [bench.detector(name) for name in task.evaded.split(" + ")]
    objective = Evading(evaded, task.strength)
    train(model, poisoned, recipe, seed=seed, objective=objective)
    path = bench.model_path(task.id)
    save_model(model, path)
    saved = load_model(path).freeze()
    triggered = record.backdoor.triggered(bench.images.test, generator=generator)
    return AttackerRecord(
        **dict(task),
        accuracy=clean_accuracy(saved, bench.images.test),
        success=attack_success(saved, triggered),
        seconds=round(time.process_time() - started, 1),
    )


def judging_tasks(_bench: AdaptiveBench, _records: Records) -> list[JudgingTask]:
    """Return every detector."""
    return [JudgingTask(id=name) for name in (*FRESH, TAUGHT)]


def judge(task: JudgingTask, bench: AdaptiveBench) -> JudgingRecord:
    """Score the zoo's test models and every attacker's model."""
    named: dict[str, Classifier] = {}
    zoo = bench.population
    tested = [each for each in zoo.select(Split.TEST) if is_backdoored(each) is not None]
    for record in tested:
        named[record.id] = load_model(zoo.path_of(record)).freeze()
    for attacker in (*attacker_tasks(bench, {}), *second_tasks(bench, {})):
        named[attacker.id] = load_model(bench.model_path(attacker.id)).freeze()
    detector = bench.detector(task.id)
    scores = detector.decision_function([*named.values()])
    p_values = detector.p_values(scores)
    return JudgingRecord(
        **dict(task),
        scores=dict(zip(named, map(float, scores), strict=True)),
        p_values=dict(zip(named, map(float, p_values), strict=True)),
    )


def _attacker(evaded: str, strength: float, record: Record) -> AttackerTask:
    known = evaded.replace(", ", "-").replace(" + ", "-and-")
    name = f"{known}-{strength:g}-{record.id.replace('/', '-')}"
    return AttackerTask(id=name, evaded=evaded, strength=strength, record=record.id)


def _save(
    task: DetectorTask, detector: Detector, bench: AdaptiveBench, started: float
) -> DetectorRecord:
    path = bench.detector_path(task.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_detector(detector, path)
    return DetectorRecord(**dict(task), seconds=round(time.process_time() - started, 1))


def attackers_of(records: Records) -> Sequence[AttackerRecord]:
    """Return all attackers that were judged."""
    return [*records["attackers"], *records["second"]]
