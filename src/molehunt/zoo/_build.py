"""Building a zoo: in this process, in others or on a Ray cluster, resumable at any moment."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from molehunt.backdoors import TrainingSet
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.files import make_folder, sha256_of
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import (
    NETWORKS,
    Classifier,
    build_classifier,
    check_buildable,
    load_model,
    pick_device,
    save_model,
)
from molehunt.progress import Progress, silent
from molehunt.resumable import RayCluster, Work, build_missing, check_workers
from molehunt.training import Recipe, TrainingRun, attack_success, clean_accuracy, train, train_many
from molehunt.zoo._entries import Entry, entries_of
from molehunt.zoo._facts import BackdoorFacts, PropertyFacts
from molehunt.zoo._plan import RecipeSpread, ZooPlan
from molehunt.zoo._zoo import INDEX_FILE, MODELS_FOLDER, Record, Zoo, model_path

_AT_ONCE_ON_CUDA = 64


def build_zoo(
    plan: ZooPlan,
    folder: str | Path,
    *,
    workers: int | RayCluster | None = None,
    device: str = "auto",
    models_at_once: int | None = None,
    data_root: str | Path | None = None,
    download: bool = False,
    progress: Progress = silent,
) -> Zoo:
    """Build what is missing of a zoo.

    Parameters
    ----------
    plan : ZooPlan
    folder : path
        Where the zoo is or shall be. Models that its index lists are not built again.
    workers : int or RayCluster, optional
        Processes, each with one thread; one a core when not given (one on CUDA). Or a Ray
        cluster, whose nodes read the images from the same paths as this machine.
    device, data_root, download
        As in `pick_device` and `load_images`. On Ray the device is ``auto``: CUDA where
        models are given a share of a GPU.
    models_at_once : int, optional
        Models that one process trains together, as `train_many` does; their records are
        appended together. When not given, 64 of our own small networks by one process on
        CUDA, else 1: on a CPU convolutions of several models at once are no faster.
    progress : callable
        Called with each new record, the number of finished models and their total.

    Raises
    ------
    InvalidRequestError
        If the plan is impossible, the folder holds a zoo of another plan, or the cluster
        cannot be used.
    OutputError
        If the folder cannot be written, or another build is at work in it.
    BuildInterruptedError
        After Ctrl-C or the death of a worker.

    Examples
    --------
    >>> from molehunt.backdoors import RandomPatches
    >>> from molehunt.images import load_images
    >>> from molehunt.training import Recipe
    >>> from molehunt.zoo import BackdoorPlan, ImagePlan, ModelCounts, NetworkPlan, ZooPlan
    >>> plan = ZooPlan(
    ...     name="two digits models",
    ...     seed=0,
    ...     images=ImagePlan(source="digits", size=12),
    ...     network=NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]}),
    ...     recipe=Recipe(epochs=1),
    ...     backdoors=BackdoorPlan(trigger=RandomPatches(size=4, count=4)),
    ...     models={"test": ModelCounts(pairs=1)},
    ... )
    >>> zoo = build_zoo(plan, "zoo", workers=1)
    >>> [record.treatment.value for record in zoo.records]
    ['backdoored', 'clean']
    """
    folder = Path(folder)
    data_root = data_root and Path(data_root).absolute()  # for processes elsewhere
    picked = _device_of(workers, device)
    check_workers(workers)
    at_once = _at_once(models_at_once, plan, picked, workers)
    images = plan.images.load(data_root, download)
    entries = entries_of(plan, images.train.num_classes)
    _rehearse(entries[0], plan, images)
    Zoo.start(folder, plan)
    make_folder(folder / MODELS_FOLDER)
    build_missing(
        entries,
        folder / INDEX_FILE,
        Work(
            _build,
            Record,
            _setup,
            (plan, folder, str(picked), data_root),
            in_folder=_in_folder,
            build_together=_build_together,
            reading=plan.backdoors.poisoning,
        ),
        context=_Workshop(plan, images, folder, picked),
        workers=workers or (1 if picked.type == "cuda" or at_once > 1 else os.cpu_count() or 1),
        at_once=at_once,
        progress=progress,
    )
    return Zoo(folder)


class _Workshop(NamedTuple):
    """What every model of a build needs."""

    plan: ZooPlan
    images: TrainTest
    folder: Path
    device: torch.device


def _setup(plan: ZooPlan, folder: Path, device: str, data_root: str | Path | None) -> _Workshop:
    """Read the images in a worker, from the cache or from torchvision's files."""
    return _Workshop(plan, plan.images.load(data_root), folder, torch.device(device))


def _in_folder(workshop: _Workshop, folder: Path) -> _Workshop:
    return workshop._replace(folder=folder)


def _device_of(workers: int | RayCluster | None, device: str) -> torch.device:
    """Return the device of every model; that of a cluster need not be one of this machine."""
    if not isinstance(workers, RayCluster):
        return pick_device(device)
    if device != "auto":
        raise InvalidRequestError(
            mismatch("device on Ray", "auto (CUDA where models are given GPUs)", repr(device))
        )
    return torch.device("cuda" if workers.gpus > 0 else "cpu")


def _at_once(
    asked: int | None, plan: ZooPlan, device: torch.device, workers: int | RayCluster | None
) -> int:
    """Return how many models are trained together."""
    one_process = workers in (None, 1)
    if asked is None:
        small = plan.network.name in NETWORKS
        return _AT_ONCE_ON_CUDA if device.type == "cuda" and one_process and small else 1
    if asked < 1 or (asked > 1 and not one_process):
        allowed = "1 or more in one process, 1 in several"
        raise InvalidRequestError(mismatch("models at once", allowed, asked))
    return asked


def _build(entry: Entry, workshop: _Workshop) -> Record:
    return build_model(entry, *workshop)


def _build_together(entries: Sequence[Entry], workshop: _Workshop) -> list[Record]:
    return build_models(entries, *workshop)


def build_model(
    entry: Entry, plan: ZooPlan, images: TrainTest, folder: Path, device: torch.device
) -> Record:
    """Train, save, read back and measure one model; the same function for every builder."""
    return build_models([entry], plan, images, folder, device)[0]


def build_models(
    entries: Sequence[Entry],
    plan: ZooPlan,
    images: TrainTest,
    folder: Path,
    device: torch.device,
) -> list[Record]:
    """Train models together, then save, read back and measure each.

    Their records' seconds are an equal share of the training and what the rest took.
    """
    started = time.perf_counter()
    sets = [training_set(entry, plan, images.train) for entry in entries]
    recipes = [recipe_of(entry, plan) for entry in entries]
    seeds = [_seed(entry, "order") for entry in entries]
    models = [
        build_classifier(
            plan.network.name,
            images.train,
            arguments=plan.network.arguments,
            recipe=recipe.model_dump(),
            seed=_seed(entry, "weights"),
        )
        for entry, recipe in zip(entries, recipes, strict=True)
    ]
    # Sets smaller than a batch make batches of several sizes, which do not stack.
    if len(entries) > 1 and min(map(len, sets)) >= plan.recipe.batch_size:
        runs = train_many(models, sets, recipes, seeds=seeds, device=device)
    else:
        runs = [
            train(model, data, recipe, seed=seed, device=device)
            for model, data, recipe, seed in zip(models, sets, recipes, seeds, strict=True)
        ]
    share = (time.perf_counter() - started) / len(entries)
    return [
        _measure(entry, model, run, len(data), share, images.test, folder)
        for entry, model, run, data in zip(entries, models, runs, sets, strict=True)
    ]


def _measure(
    entry: Entry,
    model: Classifier,
    run: TrainingRun,
    count: int,
    seconds: float,
    test: ImageSet,
    folder: Path,
) -> Record:
    """Save a model that took `seconds` so far and measure what is read back."""
    started = time.perf_counter()
    path = model_path(folder, entry)
    save_model(model, path)
    saved = load_model(path, model.mean.device)
    saved.to(memory_format=saved.layout)
    success = None
    if isinstance(entry.facts, BackdoorFacts):
        triggered = entry.backdoor.triggered(test, generator=_generator(entry, "test"))
        success = attack_success(saved, triggered)
    return Record(
        **dict(entry),
        clean_accuracy=clean_accuracy(saved, test),
        attack_success=success,
        images=count,
        steps=run.steps,
        seconds=round(seconds + time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def training_set(entry: Entry, plan: ZooPlan, train_images: ImageSet) -> TrainingSet:
    """Return the training set of one model: the pair's draw, under what is true of the model."""
    clean = train_images
    if isinstance(entry.facts, PropertyFacts):
        value, limit = entry.facts.value, plan.images.train_limit
        drawn = plan.properties.draw(clean, value, limit, _generator(entry, "images"))
        return TrainingSet(drawn)
    if plan.images.train_limit is not None:
        clean = clean.sample(plan.images.train_limit, _generator(entry, "images"))
    return entry.backdoor.poison(
        clean, treatment=entry.treatment, generator=_generator(entry, "poison")
    )


def recipe_of(entry: Entry, plan: ZooPlan) -> Recipe:
    """Return the recipe of one model: the plan's, within its spread, the same for twins."""
    rng = np.random.default_rng(_seed(entry, "recipe"))
    factors = {
        name: math.exp(rng.uniform(-1, 1) * math.log(getattr(plan.recipe_spread, name)))
        for name in RecipeSpread.model_fields
    }
    return plan.recipe.model_copy(
        update={name: getattr(plan.recipe, name) * factor for name, factor in factors.items()}
    )


def _seed(entry: Entry, purpose: str) -> int:
    """Return the pair's seed for one purpose, so that no two draws share a stream."""
    purposes = ("weights", "order", "images", "poison", "test", "recipe")
    return int(np.random.default_rng([entry.seed, purposes.index(purpose)]).integers(2**31))


def _generator(entry: Entry, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(entry, purpose))


def _rehearse(entry: Entry, plan: ZooPlan, images: TrainTest) -> None:
    """Do on a few images what every model will do, so that bad plans fail before they start."""
    train_images = images.train
    check_buildable(
        plan.network.name, train_images.shape, train_images.num_classes, plan.network.arguments
    )
    training_set(entry, plan, train_images)
    build_classifier(plan.network.name, train_images, arguments=plan.network.arguments)
    if isinstance(entry.facts, BackdoorFacts):
        entry.backdoor.triggered(images.test, generator=torch.Generator())
