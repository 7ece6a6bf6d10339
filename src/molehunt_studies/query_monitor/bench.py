"""The network, the calibrated monitors, and the images that everyone uses."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import cached_property

import torch

from molehunt.guard import (
    Calibration,
    Canary,
    HashedWindows,
    Monitor,
    NearestNeighbours,
    Prada,
    calibrate,
)
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench
from molehunt.training import Recipe, train
from molehunt_studies.query_monitor.plan import QueryMonitorPlan

_ARGUMENTS = {"width": 8, "stages": [1, 1]}
_SALT = 20_260  # of a study whose attackers do not look for it


class NetworkTask(Task):
    """The network that is attacked, or its linear cousin, and the monitors' thresholds."""


class NetworkRecord(NetworkTask):
    """A network that was trained."""

    correct: int
    of: int
    seconds: float


class CalibrationTask(Task):
    """The monitors of a set of images."""


class CalibrationRecord(CalibrationTask):
    """What the monitors were calibrated on."""

    images: int
    thresholds: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class QueryMonitorBench(Bench[QueryMonitorPlan]):
    """The images in parts, and what was made of them."""

    @cached_property
    def parts(self) -> dict[str, ImageSet]:
        """Return the images by part: train, calibration, honest (with all test images), test."""
        plan, loaded = self.plan, self._loaded
        sizes = [plan.train_images, plan.calibration_images, plan.honest_images]
        drawn = loaded.train.sample(sum(sizes), torch.Generator().manual_seed(plan.seed))
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        train_part, calibration, honest = (
            drawn.take(torch.arange(start, end)) for start, end in itertools.pairwise(ends)
        )
        mixed = honest.joined(loaded.test)
        mixed = mixed.sample(len(mixed), torch.Generator().manual_seed(plan.seed + 1))
        return {
            "train": train_part,
            "calibration": calibration,
            "honest": mixed,
            "test": loaded.test,
        }

    @cached_property
    def _loaded(self) -> TrainTest:
        size = 16 if self.plan.source == "digits" else None
        return load_images(self.plan.source, size=size, data_root=self.data_root)

    def network(self, name: str = "network") -> Classifier:
        """Return a network that was trained."""
        return load_model(self.model_path(name)).freeze()

    def attacked(self, number: int) -> ImageSet:
        """Return one test image that the network gets right."""
        return self._right.take(torch.tensor([number]))

    @cached_property
    def _right(self) -> ImageSet:
        few = self.parts["test"].sample(200, torch.Generator().manual_seed(self.plan.seed + 2))
        return few.take(logits_of(self.network(), few.images).argmax(1) == few.labels)

    def monitors(self, name: str) -> tuple[Monitor, ...]:
        """Return calibrated monitors."""
        path = self.folder / "calibrations" / f"{name}.json"
        return tuple(Calibration.read(path).monitors)


def train_network(task: NetworkTask, bench: QueryMonitorBench) -> NetworkRecord:
    """Train, save and measure a network: small convolutions, or softmax regression."""
    started = time.perf_counter()
    images, seed = bench.parts["train"], bench.plan.seed
    if task.id == "linear":
        model = build_classifier("mlp", images, arguments={"hidden": []}, seed=seed)
    else:
        model = build_classifier("vgg", images, arguments=_ARGUMENTS, seed=seed)
    train(model, images, Recipe(epochs=3, batch_size=64, lr=0.01), seed=seed)
    save_model(model, bench.model_path(task.id))
    test = bench.parts["test"]
    correct = logits_of(bench.network(task.id), test.images).argmax(1) == test.labels
    seconds = round(time.perf_counter() - started, 1)
    return NetworkRecord(id=task.id, correct=int(correct.sum()), of=len(test), seconds=seconds)


def new_monitors(plan: QueryMonitorPlan) -> list[Monitor]:
    """Return the study's monitors without thresholds."""
    return [
        NearestNeighbours(neighbours=plan.neighbours, window=plan.window),
        HashedWindows(salt=_SALT, window_of_queries=plan.window),
        Prada(window=min(500, plan.window), least_distances=min(100, plan.window // 2)),
        Canary(),
    ]


def calibrate_monitors(task: CalibrationTask, bench: QueryMonitorBench) -> CalibrationRecord:
    """Give the monitors thresholds on honest images of a part of their own, and save them."""
    started, plan = time.perf_counter(), bench.plan
    if task.id == "signs":
        images, _, _ = signs(bench)
        labels = images.labels
    else:
        images = bench.parts["calibration"]
        labels = logits_of(bench.network(), images.images).argmax(1)
    found = calibrate(
        new_monitors(plan), images.pixels(), labels, false_alarms=_rate(task.id, plan)
    )
    found.save(bench.folder / "calibrations" / f"{task.id}.json")
    return CalibrationRecord(
        id=task.id,
        images=len(images),
        thresholds={monitor.kind: round(monitor.threshold or 0, 5) for monitor in found.monitors},
        seconds=round(time.perf_counter() - started, 1),
    )


def _rate(name: str, plan: QueryMonitorPlan) -> float:
    # There are fewer signs: four monitors, one false alarm each.
    return max(plan.false_alarms, 0.001) if name == "signs" else plan.false_alarms


def signs(bench: QueryMonitorBench) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Return traffic signs: for calibration, mixed test photographs, and whole tracks in order.

    A track is one sign seen from a car that comes closer; tracks of the calibration are others
    than those that are shown in order.
    """
    loaded = load_images("gtsrb", size=32, data_root=bench.data_root)
    train_part = loaded.train
    tracks = [(path.parent.name, path.name.split("_")[0]) for path in train_part.files]
    order = {track: place for place, track in enumerate(dict.fromkeys(sorted(tracks)))}
    number = torch.tensor([order[track] for track in tracks])
    draw = torch.Generator().manual_seed(bench.plan.seed + 3)
    few = train_part.take(number % 2 == 0)
    mixed = loaded.test.sample(len(loaded.test), draw)
    frames = sorted(
        (n for n in range(len(tracks)) if order[tracks[n]] % 2),
        key=lambda n: (order[tracks[n]], train_part.files[n].name),
    )
    return few.sample(len(few), draw), mixed, train_part.take(torch.tensor(frames))
