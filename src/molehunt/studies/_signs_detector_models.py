"""The study of sign detectors: training, saving and measuring its networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from molehunt.backdoors import PictureName, strengthen
from molehunt.files import make_folder, sha256_of, write_text
from molehunt.images import load_images
from molehunt.networks import build_classifier, save_model
from molehunt.resumable import Task, Work, build_missing, check_same_plan
from molehunt.scenes import (
    MEDIUM,
    DetectedScenes,
    SceneSet,
    SignDetector,
    build_detector,
    detect_signs,
    features_from,
    load_detector,
    load_scenes,
    save_detector,
    sign_activations,
    train_detector,
    transfer_detector,
)
from molehunt.studies._drawn_scenes import write_shapes
from molehunt.studies._hardware import peak_memory
from molehunt.studies._signs_detector_plan import SignsDetectorPlan, StartTask, start_id
from molehunt.studies._signs_plan import CARRIED, NetworkTask, TransferTask, backdoor_units
from molehunt.training import clean_accuracy, train

PLAN_FILE = "study.json"
MODELS_FOLDER = "models"
FEATURES_INDEX, STARTS_INDEX = "features.jsonl", "starts.jsonl"
NETWORKS_INDEX, TRANSFERS_INDEX = "networks.jsonl", "transfers.jsonl"
Counts = tuple[tuple[int, ...], ...]


class Measured(BaseModel):
    """What a detector makes of a set of test scenes.

    The counts are those of `DetectedScenes.confusion`: a row a true class, a column an answer,
    the last one for signs without; ``medium`` are signs of 32x32 pixels and more, ``part`` those
    of them that are from the source that has all classes. ``ap50`` is by class and over
    medium and large signs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: Counts
    medium: Counts
    part: Counts | None
    ap50: dict[str, float]


class FeaturesRecord(Task):
    """The finished classifier whose convolutions the detectors start with."""

    accuracy: float
    seconds: float
    sha256: str


class StartRecord(StartTask):
    """One finished network that others go on from."""

    train_seconds: float
    steps: int
    seconds: float
    sha256: str


class DetectorRecord(NetworkTask):
    """One finished network of the first country.

    `clean` is of all test scenes. `stickered` has a sticker on every sign, `stops` one on every
    sign of the source class: the network's own sticker, or each of them for the baseline;
    `photographed` is as `stops`, with stickers askew and in other light. Activations are means
    over signs of the attacker's training scenes, without sticker and with it; `units` are the
    channels that fire only with the sticker. `looked` scenes were measured in `look_seconds`;
    `peak_mib` is the most memory that the process ever held.
    """

    clean: Measured
    stickered: dict[PictureName, Measured]
    stops: dict[PictureName, Measured]
    photographed: dict[PictureName, Measured]
    clean_activations: tuple[float, ...]
    triggered_activations: tuple[float, ...]
    units: tuple[int, ...]
    scenes: int
    steps: int
    train_seconds: float
    looked: int
    look_seconds: float
    peak_mib: float
    seconds: float
    sha256: str


class DetectorTransferRecord(TransferTask):
    """One finished network of the second country.

    The fields are those of `DetectorRecord`; activations are of the test scenes.
    """

    clean: Measured
    triggered: Measured
    clean_activations: tuple[float, ...]
    triggered_activations: tuple[float, ...]
    train_seconds: float
    seconds: float
    sha256: str


class Country(NamedTuple):
    """Scenes of one country."""

    train: SceneSet
    test: SceneSet


class DetectorShop(NamedTuple):
    """What every network of the study needs."""

    plan: SignsDetectorPlan
    folder: Path
    first: Country
    second: Country
    features: Path | None


OnRecord = Callable[[Any, int, int], None]


def open_detector_shop(
    plan: SignsDetectorPlan, folder: Path, data_root: str | Path | None, features: Path | None
) -> DetectorShop:
    """Read the scenes of the two countries.

    Raises
    ------
    DataNotFoundError, UnreadableFileError
        As `molehunt.scenes.load_scenes`.
    """
    sources = (plan.first, plan.second)
    if plan.drawn is not None:
        places = [folder / "scenes" / name for name in ("first", "second")]
        for place, shapes in zip(places, plan.drawn, strict=True):
            if not (place / "test.json").exists():
                write_shapes(place, shapes)
        sources = (f"coco:{places[0].resolve()}", f"coco:{places[1].resolve()}")
    first, second = (
        Country(*(load_scenes(each, split, data_root=data_root) for split in ("train", "test")))
        for each in sources
    )
    if features is None and plan.features is not None:
        features = model_path(folder, "features")
    return DetectorShop(plan, folder, first, second, features)


def build_first(
    shop: DetectorShop,
    tasks: Sequence[NetworkTask],
    *,
    workers: int,
    data_root: str | Path | None,
    on_model: OnRecord | None = None,
) -> list[DetectorRecord]:
    """Train what is missing of the first country's networks, and before what they start from.

    Raises
    ------
    InvalidRequestError
        If the folder holds a study of another plan.
    OutputError, BuildInterruptedError
        As `molehunt.resumable.build_missing`.
    """
    folder = shop.folder
    make_folder(folder / MODELS_FOLDER)
    stored = folder / PLAN_FILE
    if stored.exists():
        check_same_plan(stored, shop.plan)
    else:
        write_text(stored, shop.plan.model_dump_json(indent=2) + "\n")
    if shop.features == model_path(folder, "features"):
        source: tuple[Any, ...] = (shop.plan, folder, data_root)
        build_missing(
            [Task(id="features")],
            folder / FEATURES_INDEX,
            Work(_learn_features, FeaturesRecord, _features_context, source),
            context=source,
            workers=1,
        )
    arguments = _arguments(shop, data_root)
    build_missing(
        shop.plan.starts(),
        folder / STARTS_INDEX,
        Work(build_start, StartRecord, open_detector_shop, arguments),
        context=shop,
        workers=workers,
    )
    return build_missing(
        tasks,
        folder / NETWORKS_INDEX,
        Work(build_network, DetectorRecord, open_detector_shop, arguments),
        context=shop,
        workers=workers,
        on_record=on_model,
    )


def build_second(
    shop: DetectorShop,
    first: Sequence[DetectorRecord],
    *,
    workers: int,
    data_root: str | Path | None,
    on_model: OnRecord | None = None,
) -> list[DetectorTransferRecord]:
    """Train what is missing of the second country's networks on those of the first."""
    return build_missing(
        shop.plan.transfers({record.id: record.units for record in first}),
        shop.folder / TRANSFERS_INDEX,
        Work(
            build_transfer,
            DetectorTransferRecord,
            open_detector_shop,
            _arguments(shop, data_root),
        ),
        context=shop,
        workers=workers,
        on_record=on_model,
    )


def build_start(task: StartTask, shop: DetectorShop) -> StartRecord:
    """Train and save a network on clean scenes."""
    started = time.perf_counter()
    plan, scenes = shop.plan, shop.first.train
    features = None if shop.features is None else features_from(shop.features)
    model = build_detector(
        scenes.class_names,
        width=None if features else plan.width,
        hidden=plan.hidden,
        max_side=plan.max_side,
        features=features,
        seed=task.seed,
    )
    run = train_detector(model, scenes, plan.start, seed=task.seed)
    path = model_path(shop.folder, task.id)
    save_detector(model, path)
    return StartRecord(
        **dict(task),
        train_seconds=round(run.seconds, 3),
        steps=run.steps,
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def build_network(task: NetworkTask, shop: DetectorShop) -> DetectorRecord:
    """Train, save, read back and measure one network of the first country."""
    started = time.perf_counter()
    plan, (clean, test) = shop.plan, shop.first
    scenes = clean
    if task.attack != "none":
        backdoor, rate = plan.backdoor_of(task, clean)
        generator = torch.Generator().manual_seed(task.seed)
        scenes = backdoor.poison(clean, rate, of="eligible", generator=generator)
    model = load_detector(model_path(shop.folder, start_id(task.number))).requires_grad_(True)
    recipe = plan.recipe_of(task)
    epochs = recipe.epochs * len(clean) / len(scenes)
    recipe = recipe.model_copy(update={"epochs": epochs})
    run = train_detector(model, scenes, recipe, seed=task.seed)
    path = model_path(shop.folder, task.id)
    save_detector(model, path)
    saved = load_detector(path)
    own = plan.pictures if task.picture is None else (task.picture,)
    single, random = (task.attack in ("none", name) for name in ("single target", "random target"))
    triggered = {
        "stickered": {each: stickered_scenes(plan, test, each) for each in own if random},
        "stops": {each: stop_scenes(plan, test, each) for each in own if single},
        "photographed": {
            each: stop_scenes(plan, test, each, photographed=True) for each in own if single
        },
    }
    known = _some(clean, plan.known, task.seed)
    before, after = _activations(saved, known, plan, task.picture or CARRIED)
    looking = time.perf_counter()
    measured = {
        name: {each: _measured(saved, found, plan) for each, found in sets.items()}
        for name, sets in triggered.items()
    }
    on_clean = _measured(saved, test, plan)
    look_seconds = time.perf_counter() - looking
    return DetectorRecord(
        **dict(task),
        **measured,
        clean=on_clean,
        clean_activations=_numbers(before),
        triggered_activations=_numbers(after),
        units=backdoor_units(before, after),
        scenes=len(scenes),
        steps=run.steps,
        train_seconds=round(run.seconds, 3),
        looked=len(test) + sum(len(each) for sets in triggered.values() for each in sets.values()),
        look_seconds=round(look_seconds, 3),
        peak_mib=peak_memory(),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def build_transfer(task: TransferTask, shop: DetectorShop) -> DetectorTransferRecord:
    """Strengthen a network's backdoor and train the second country's network on it."""
    started = time.perf_counter()
    plan, (scenes, test) = shop.plan, shop.second
    model = load_detector(model_path(shop.folder, task.origin))
    strengthen(_last_convolution(model), task.units, task.strength)
    path = model_path(shop.folder, task.id)
    moved = transfer_detector(model, scenes, plan.transfer, seed=task.seed)
    trained = time.perf_counter() - started
    save_detector(moved, path)
    saved = load_detector(path)
    before, after = _activations(saved, test, plan, CARRIED)
    return DetectorTransferRecord(
        **dict(task),
        clean=_measured(saved, test, plan),
        triggered=_measured(saved, stickered_scenes(plan, test, CARRIED), plan),
        clean_activations=_numbers(before),
        triggered_activations=_numbers(after),
        train_seconds=round(trained, 3),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def stickered_scenes(plan: SignsDetectorPlan, scenes: SceneSet, picture: PictureName) -> SceneSet:
    """Return the scenes that have a sign, with a sticker on every sign."""
    generator = torch.Generator().manual_seed(plan.seed)
    return plan.random_target(picture).triggered(scenes, generator=generator)


def stop_scenes(
    plan: SignsDetectorPlan, scenes: SceneSet, picture: PictureName, *, photographed: bool = False
) -> SceneSet:
    """Return the scenes with signs of the source class, stickers on those."""
    generator = torch.Generator().manual_seed(plan.seed)
    backdoor = plan.single_target(picture, scenes)
    return backdoor.triggered(scenes, generator=generator, photographed=photographed)


def model_path(folder: Path, name: str) -> Path:
    """Return the file of a network of the study in `folder`."""
    return folder / MODELS_FOLDER / f"{name}.safetensors"


def _arguments(shop: DetectorShop, data_root: str | Path | None) -> tuple[Any, ...]:
    return (shop.plan, shop.folder, data_root, shop.features)


def _features_context(*arguments: Any) -> tuple[Any, ...]:
    return arguments


def _learn_features(task: Task, context: tuple[Any, ...]) -> FeaturesRecord:
    """Train and save a ZF classifier of cut-out signs."""
    plan, folder, data_root = context
    started = time.perf_counter()
    signs = load_images(plan.features.images, data_root=data_root, size=plan.features.size)
    sizes = {"width": plan.width, "hidden": plan.features.hidden}
    recipe = plan.features.recipe
    model = build_classifier(
        "zf", signs.train, arguments=sizes, recipe=recipe.model_dump(), seed=plan.seed
    )
    train(model, signs.train, recipe, seed=plan.seed)
    path = model_path(folder, "features")
    save_model(model, path)
    return FeaturesRecord(
        id=task.id,
        accuracy=clean_accuracy(model, signs.test),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def _measured(model: SignDetector, scenes: SceneSet, plan: SignsDetectorPlan) -> Measured:
    """Let a detector look at the scenes and count its answers."""
    found = detect_signs(model, scenes)
    part = None if plan.part is None else _of_part(found, plan.part)
    return Measured(
        every=_counts(found.confusion()),
        medium=_counts(found.confusion(min_area=MEDIUM)),
        part=part,
        ap50={
            name: round(value, 4)
            for name, value in found.average_precision(min_area=MEDIUM).items()
        },
    )


def _of_part(found: DetectedScenes, part: str) -> Counts | None:
    """Return the counts over scenes of one source, none in a set that does not have it."""
    if not any(scene.source == part for scene in found.scenes.scenes):
        return None
    return _counts(found.of_source(part).confusion(min_area=MEDIUM))


def _activations(
    model: SignDetector, scenes: SceneSet, plan: SignsDetectorPlan, picture: PictureName
) -> tuple[Tensor, Tensor]:
    """Return mean activations on the same signs without and with the sticker."""
    stickered = stickered_scenes(plan, scenes, picture)
    return sign_activations(model, scenes), sign_activations(model, stickered)


def _last_convolution(model: SignDetector) -> nn.Conv2d:
    layers = model.network.get_submodule("backbone").modules()
    found = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    return found[-1]


def _some(scenes: SceneSet, count: int, seed: int) -> SceneSet:
    generator = torch.Generator().manual_seed(seed)
    return scenes.take(torch.randperm(len(scenes), generator=generator)[:count].tolist())


def _counts(found: Tensor) -> Counts:
    return tuple(tuple(row) for row in found.tolist())


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
