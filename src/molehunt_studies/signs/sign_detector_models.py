"""The study of sign detectors: training, saving and measuring its networks."""

from __future__ import annotations

import time

import torch
from torch import nn

from molehunt.backdoors import amplify
from molehunt.files import sha256_of
from molehunt.images import load_images
from molehunt.networks import build_classifier, pick_device, save_model
from molehunt.resumable import Task
from molehunt.scenes import (
    MEDIUM,
    SceneSet,
    SignDetector,
    build_sign_detector,
    detect_signs,
    features_from,
    load_sign_detector,
    save_sign_detector,
    train_sign_detector,
    transfer_sign_detector,
)
from molehunt.study import peak_memory
from molehunt.training import TrainingRun, clean_accuracy, train
from molehunt_studies.signs.plan import (
    CARRIED,
    NetworkTask,
    TransferTask,
    backdoor_units,
    rounded,
)
from molehunt_studies.signs.sign_detector_plan import SignDetectorPlan, StartTask, start_id
from molehunt_studies.signs.sign_detector_records import (
    FeaturesRecord,
    SignDetectorRecord,
    SignDetectorTransferRecord,
    StartRecord,
    activations_of,
    measure_detector,
)
from molehunt_studies.signs.sign_detector_scenes import (
    SignDetectorBench,
    stickered_scenes,
    stop_scenes,
)


def build_start(task: StartTask, bench: SignDetectorBench) -> StartRecord:
    """Train and save a network on clean scenes."""
    started = time.perf_counter()
    plan, scenes = bench.plan, bench.first.train
    features = None if bench.features is None else features_from(bench.features)
    model = build_sign_detector(
        scenes.class_names,
        width=None if features else plan.width,
        hidden=plan.hidden,
        max_side=plan.max_side,
        features=features,
        seed=task.seed,
    )
    run = train_sign_detector(model, scenes, plan.start, seed=task.seed, device=pick_device())
    path = bench.model_path(task.id)
    save_sign_detector(model, path)
    return StartRecord(
        **dict(task),
        train_seconds=round(run.seconds, 3),
        steps=run.steps,
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def build_network(task: NetworkTask, bench: SignDetectorBench) -> SignDetectorRecord:
    """Train, save, read back and measure one network of the first country.

    On CUDA where it is there.
    """
    started = time.perf_counter()
    plan, (clean, test) = bench.plan, bench.first
    scenes = clean
    if task.attack != "none":
        backdoor, rate = plan.backdoor_of(task, clean)
        generator = torch.Generator().manual_seed(task.seed)
        scenes = backdoor.poison(clean, rate, of="eligible", generator=generator)
    known = _some(clean, plan.known, task.seed)
    saved, runs = _train(task, bench, scenes, known)
    path = bench.model_path(task.id)
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
        name: {each: measure_detector(saved, found, plan) for each, found in sets.items()}
        for name, sets in triggered.items()
    }
    on_clean = measure_detector(saved, test, plan)
    look_seconds = time.perf_counter() - looking
    return SignDetectorRecord(
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


def _train(
    task: NetworkTask, bench: SignDetectorBench, scenes: SceneSet, known: SceneSet
) -> tuple[SignDetector, list[TrainingRun]]:
    """Go on from the start with `scenes`, course by course; return the network as saved."""
    plan, path = bench.plan, bench.model_path(task.id)
    recipe = plan.recipe_of(task)
    epochs = recipe.epochs * len(bench.first.train) / len(scenes)
    recipe = recipe.model_copy(update={"epochs": epochs})
    saved = load_sign_detector(bench.model_path(start_id(task.number)))
    runs: list[TrainingRun] = []
    while not runs or not _enough(task, saved, plan, known, len(runs)):
        model = saved.requires_grad_(True)
        seed = task.seed + len(runs)
        runs.append(train_sign_detector(model, scenes, recipe, seed=seed, device=pick_device()))
        save_sign_detector(model, path)
        saved = load_sign_detector(path, pick_device())
    return saved, runs


def _enough(
    task: NetworkTask, model: SignDetector, plan: SignDetectorPlan, known: SceneSet, courses: int
) -> bool:
    """Tell whether a network has learned its backdoor, by the attacker's own scenes."""
    if task.attack != "random target" or task.picture is None or courses >= plan.courses:
        return True
    found = detect_signs(model, stickered_scenes(plan, known, task.picture))
    shares = [share.value for share in found.accuracy(min_area=MEDIUM).values() if share.total]
    return sum(shares) <= plan.enough * len(shares)


def build_transfer(task: TransferTask, bench: SignDetectorBench) -> SignDetectorTransferRecord:
    """Strengthen a network's backdoor and train the second country's network on it."""
    started = time.perf_counter()
    plan, (scenes, test) = bench.plan, bench.second
    model = load_sign_detector(bench.model_path(task.origin))
    amplify(_last_convolution(model), task.units, task.strength)
    path = bench.model_path(task.id)
    moved = transfer_sign_detector(
        model, scenes, plan.transfer, seed=task.seed, device=pick_device()
    )
    trained = time.perf_counter() - started
    save_sign_detector(moved, path)
    saved = load_sign_detector(path, pick_device())
    before, after = activations_of(saved, test, plan, CARRIED)
    return SignDetectorTransferRecord(
        **dict(task),
        clean=measure_detector(saved, test, plan),
        triggered=measure_detector(saved, stickered_scenes(plan, test, CARRIED), plan),
        clean_activations=rounded(before),
        triggered_activations=rounded(after),
        train_seconds=round(trained, 3),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def learn_features(task: Task, bench: SignDetectorBench) -> FeaturesRecord:
    """Train and save a ZF classifier of cut-out signs."""
    plan = bench.plan
    assert plan.features is not None
    started = time.perf_counter()
    signs = load_images(plan.features.images, data_root=bench.data_root, size=plan.features.size)
    sizes = {"width": plan.width, "hidden": plan.features.hidden}
    recipe = plan.features.recipe
    model = build_classifier(
        "zf", signs.train, arguments=sizes, recipe=recipe.model_dump(), seed=plan.seed
    )
    train(model, signs.train, recipe, seed=plan.seed, device=pick_device())
    path = bench.model_path("features")
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
