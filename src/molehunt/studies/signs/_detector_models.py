"""The study of sign detectors: training, saving and measuring its networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from molehunt.backdoors import strengthen
from molehunt.files import make_folder, sha256_of
from molehunt.images import load_images
from molehunt.networks import build_classifier, save_model
from molehunt.resumable import Task, Work, build_missing, store_plan
from molehunt.scenes import (
    MEDIUM,
    SceneSet,
    SignDetector,
    build_detector,
    detect_signs,
    features_from,
    load_detector,
    save_detector,
    train_detector,
    transfer_detector,
)
from molehunt.studies.signs._detector_plan import SignsDetectorPlan, StartTask, start_id
from molehunt.studies.signs._detector_records import (
    DetectorRecord,
    DetectorTransferRecord,
    FeaturesRecord,
    StartRecord,
    activations_of,
    measured,
)
from molehunt.studies.signs._detector_shop import (
    FEATURES_INDEX,
    NETWORKS_INDEX,
    STARTS_INDEX,
    TRANSFERS_INDEX,
    DetectorShop,
    open_detector_shop,
    stickered_scenes,
    stop_scenes,
)
from molehunt.studies.signs._plan import (
    CARRIED,
    MODELS_FOLDER,
    PLAN_FILE,
    NetworkTask,
    TransferTask,
    backdoor_units,
    model_path,
    rounded,
)
from molehunt.study._hardware import peak_memory
from molehunt.training import TrainingRun, clean_accuracy, pick_device, train

OnRecord = Callable[[Any, int, int], None]


def build_networks(
    shop: DetectorShop,
    tasks: Sequence[NetworkTask],
    *,
    transfers: bool,
    workers: int,
    data_root: str | Path | None,
    on_model: OnRecord | None = None,
) -> None:
    """Train what is missing: features, starts, the first country's networks, the second's.

    Parameters
    ----------
    shop : DetectorShop
    tasks : sequence of NetworkTask
        Networks of the first country.
    transfers : bool
        Whether to train the second country's on them.
    workers : int
    data_root : path, optional
    on_model : callable, optional
        Called with each new record, the number of finished ones and their total.

    Raises
    ------
    InvalidRequestError
        If the folder holds a study of another plan.
    OutputError, BuildInterruptedError
        As `molehunt.resumable.build_missing`.
    """
    plan, folder = shop.plan, shop.folder
    make_folder(folder / MODELS_FOLDER)
    store_plan(folder / PLAN_FILE, plan)
    learned = [Task(id="features")] if shop.features == model_path(folder, "features") else []
    starts = plan.starts()
    total = len(learned) + len(starts) + len(tasks)
    total += len(plan.transfers({})) if transfers else 0
    arguments = (plan, folder, data_root, shop.features)

    def reporting(before: int) -> OnRecord | None:
        return on_model and (lambda record, done, _: on_model(record, before + done, total))

    build_missing(
        learned,
        folder / FEATURES_INDEX,
        Work(_learn_features, FeaturesRecord, _features_context, arguments[:3]),
        context=arguments[:3],
        workers=1,
        on_record=reporting(0),
    )
    build_missing(
        starts,
        folder / STARTS_INDEX,
        Work(build_start, StartRecord, open_detector_shop, arguments),
        context=shop,
        workers=workers,
        on_record=reporting(len(learned)),
    )
    first = build_missing(
        tasks,
        folder / NETWORKS_INDEX,
        Work(build_network, DetectorRecord, open_detector_shop, arguments),
        context=shop,
        workers=workers,
        on_record=reporting(len(learned) + len(starts)),
    )
    if transfers:
        build_missing(
            plan.transfers({record.id: record.units for record in first}),
            folder / TRANSFERS_INDEX,
            Work(build_transfer, DetectorTransferRecord, open_detector_shop, arguments),
            context=shop,
            workers=workers,
            on_record=reporting(len(learned) + len(starts) + len(tasks)),
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
    run = train_detector(model, scenes, plan.start, seed=task.seed, device=pick_device())
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
    """Train, save, read back and measure one network of the first country.

    On CUDA where it is there.
    """
    started = time.perf_counter()
    plan, (clean, test) = shop.plan, shop.first
    scenes = clean
    if task.attack != "none":
        backdoor, rate = plan.backdoor_of(task, clean)
        generator = torch.Generator().manual_seed(task.seed)
        scenes = backdoor.poison(clean, rate, of="eligible", generator=generator)
    known = _some(clean, plan.known, task.seed)
    saved, runs = _trained(task, shop, scenes, known)
    path = model_path(shop.folder, task.id)
    own = plan.pictures if task.picture is None else (task.picture,)
    single, random = (task.attack in ("none", name) for name in ("single target", "random target"))
    triggered = {
        "stickered": {each: stickered_scenes(plan, test, each) for each in own if random},
        "stops": {each: stop_scenes(plan, test, each) for each in own if single},
        "photographed": {
            each: stop_scenes(plan, test, each, photographed=True) for each in own if single
        },
    }
    before, after = activations_of(saved, known, plan, task.picture or CARRIED)
    looking = time.perf_counter()
    on_triggered = {
        name: {each: measured(saved, found, plan) for each, found in sets.items()}
        for name, sets in triggered.items()
    }
    on_clean = measured(saved, test, plan)
    look_seconds = time.perf_counter() - looking
    return DetectorRecord(
        **dict(task),
        **on_triggered,
        clean=on_clean,
        clean_activations=rounded(before),
        triggered_activations=rounded(after),
        units=backdoor_units(before, after),
        scenes=len(scenes),
        courses=len(runs),
        steps=sum(run.steps for run in runs),
        train_seconds=round(sum(run.seconds for run in runs), 3),
        looked=len(test) + sum(len(each) for sets in triggered.values() for each in sets.values()),
        look_seconds=round(look_seconds, 3),
        peak_mib=peak_memory(),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def _trained(
    task: NetworkTask, shop: DetectorShop, scenes: SceneSet, known: SceneSet
) -> tuple[SignDetector, list[TrainingRun]]:
    """Go on from the start with `scenes`, course by course; return the network as saved."""
    plan, path = shop.plan, model_path(shop.folder, task.id)
    recipe = plan.recipe_of(task)
    epochs = recipe.epochs * len(shop.first.train) / len(scenes)
    recipe = recipe.model_copy(update={"epochs": epochs})
    saved = load_detector(model_path(shop.folder, start_id(task.number)))
    runs: list[TrainingRun] = []
    while not runs or not _enough(task, saved, plan, known, len(runs)):
        model = saved.requires_grad_(True)
        seed = task.seed + len(runs)
        runs.append(train_detector(model, scenes, recipe, seed=seed, device=pick_device()))
        save_detector(model, path)
        saved = load_detector(path, pick_device())
    return saved, runs


def _enough(
    task: NetworkTask, model: SignDetector, plan: SignsDetectorPlan, known: SceneSet, courses: int
) -> bool:
    """Tell whether a network has learned its backdoor, by the attacker's own scenes."""
    if task.attack != "random target" or task.picture is None or courses >= plan.courses:
        return True
    found = detect_signs(model, stickered_scenes(plan, known, task.picture))
    shares = [share.value for share in found.accuracy(min_area=MEDIUM).values() if share.total]
    return sum(shares) <= plan.enough * len(shares)


def build_transfer(task: TransferTask, shop: DetectorShop) -> DetectorTransferRecord:
    """Strengthen a network's backdoor and train the second country's network on it."""
    started = time.perf_counter()
    plan, (scenes, test) = shop.plan, shop.second
    model = load_detector(model_path(shop.folder, task.origin))
    strengthen(_last_convolution(model), task.units, task.strength)
    path = model_path(shop.folder, task.id)
    moved = transfer_detector(model, scenes, plan.transfer, seed=task.seed, device=pick_device())
    trained = time.perf_counter() - started
    save_detector(moved, path)
    saved = load_detector(path, pick_device())
    before, after = activations_of(saved, test, plan, CARRIED)
    return DetectorTransferRecord(
        **dict(task),
        clean=measured(saved, test, plan),
        triggered=measured(saved, stickered_scenes(plan, test, CARRIED), plan),
        clean_activations=rounded(before),
        triggered_activations=rounded(after),
        train_seconds=round(trained, 3),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


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
    train(model, signs.train, recipe, seed=plan.seed, device=pick_device())
    path = model_path(folder, "features")
    save_model(model, path)
    return FeaturesRecord(
        id=task.id,
        accuracy=clean_accuracy(model, signs.test),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def _last_convolution(model: SignDetector) -> nn.Conv2d:
    layers = model.network.get_submodule("backbone").modules()
    found = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    return found[-1]


def _some(scenes: SceneSet, count: int, seed: int) -> SceneSet:
    generator = torch.Generator().manual_seed(seed)
    return scenes.take(torch.randperm(len(scenes), generator=generator)[:count].tolist())
