"""Building a zoo: one model after the other, in processes, resumable at any moment."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch

from molehunt.backdoors import TrainingSet
from molehunt.errors import InvalidRequestError, MolehuntError, OutputError, refused
from molehunt.files import make_folder, sha256_of
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import build_classifier, load_model, save_model
from molehunt.training import Recipe, attack_success, clean_accuracy, pick_device, train
from molehunt.zoo._entries import Entry, entries_of
from molehunt.zoo._plan import RecipeSpread, ZooPlan
from molehunt.zoo._zoo import (
    INDEX_FILE,
    MODELS_FOLDER,
    Record,
    Zoo,
    cut_torn_line,
    line_of,
)

OnModel = Callable[[Record, int, int], None]


class BuildInterruptedError(MolehuntError):
    """A build was interrupted; the finished models are on disk and the same call goes on."""


def build_zoo(
    plan: ZooPlan,
    folder: str | Path,
    *,
    workers: int | None = None,
    device: str = "auto",
    data_root: str | Path | None = None,
    download: bool = False,
    on_model: OnModel | None = None,
) -> Zoo:
    """Build what is missing of a zoo.

    Parameters
    ----------
    plan : ZooPlan
    folder : path
        Where the zoo is or shall be. Models that its index lists are not built again.
    workers : int, optional
        Processes, each with one thread; one a core when not given (one on CUDA).
    device, data_root, download
        As in `pick_device` and `load_images`.
    on_model : callable, optional
        Called with each new record, the number of finished models and their total.

    Raises
    ------
    InvalidRequestError
        If the plan is impossible or the folder holds a zoo of another plan.
    OutputError
        If the folder cannot be written, or another build is at work in it.
    BuildInterruptedError
        After Ctrl-C or the death of a worker.
    """
    folder = Path(folder)
    picked = pick_device(device)
    if workers is not None and workers < 1:
        raise InvalidRequestError(refused("workers", "1 or more", workers))
    images = plan.images.load(data_root, download)
    entries = entries_of(plan, images.train.num_classes)
    _rehearse(entries[0], plan, images)
    zoo = Zoo.start(folder, plan)
    make_folder(folder / MODELS_FOLDER)
    with _locked(folder):
        cut_torn_line(folder / INDEX_FILE)
        done = {record.id for record in zoo.records}
        missing = [entry for entry in entries if entry.id not in done]
        count = workers or (1 if picked.type == "cuda" else os.cpu_count() or 1)
        builders = min(count, len(missing))
        fresh: Iterator[Record]
        if builders <= 1:
            fresh = (build_model(e, plan, images, folder, picked) for e in missing)
        else:
            # The children read the decoded images from the cache or from torchvision's files.
            fresh = _in_processes(missing, plan, folder, str(picked), data_root, builders)
        finished = len(done)
        try:
            with (folder / INDEX_FILE).open("a", encoding="utf-8") as index:
                for record in fresh:
                    _append(index, record)
                    finished += 1
                    if on_model is not None:
                        on_model(record, finished, len(entries))
        except (KeyboardInterrupt, BrokenProcessPool) as error:
            cause = "interrupted" if isinstance(error, KeyboardInterrupt) else "a worker died"
            raise BuildInterruptedError(
                f"{folder}: {cause}; {finished} of {len(entries)} models are whole on disk; "
                "the same command goes on from there"
            ) from error
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    return Zoo(folder)


def build_model(
    entry: Entry, plan: ZooPlan, images: TrainTest, folder: Path, device: torch.device
) -> Record:
    """Train, save, read back and measure one model; the same function for every builder."""
    started = time.perf_counter()
    train_set = training_set(entry, plan, images.train)
    recipe = recipe_of(entry, plan)
    model = build_classifier(
        plan.network.name,
        images.train,
        arguments=plan.network.arguments,
        recipe=recipe.model_dump(),
        seed=_seed(entry, "weights"),
    )
    run = train(model, train_set, recipe, seed=_seed(entry, "order"), device=device)
    path = folder / MODELS_FOLDER / f"{entry.id}.safetensors"
    save_model(model, path)
    saved = load_model(path, device)
    triggered = entry.backdoor.triggered(images.test, generator=_generator(entry, "test"))
    return Record(
        **dict(entry),
        clean_accuracy=clean_accuracy(saved, images.test),
        attack_success=attack_success(saved, triggered, entry.backdoor.label_map),
        images=len(train_set),
        steps=run.steps,
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def training_set(entry: Entry, plan: ZooPlan, train_images: ImageSet) -> TrainingSet:
    """Return the training set of one model: the pair's draw, under the model's treatment."""
    clean = train_images
    if plan.images.train_limit is not None:
        clean = clean.sample(plan.images.train_limit, _generator(entry, "images"))
    return entry.backdoor.poison(
        clean,
        plan.backdoors.rate,
        of=plan.backdoors.of,
        treatment=entry.treatment,
        generator=_generator(entry, "poison"),
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
    training_set(entry, plan, images.train)
    build_classifier(plan.network.name, images.train, arguments=plan.network.arguments)
    entry.backdoor.triggered(images.test, generator=torch.Generator())


def _append(index: IO[str], record: Record) -> None:
    index.write(line_of(record))
    index.flush()
    os.fsync(index.fileno())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one build; the lock goes with the process, however it ends."""
    try:
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{folder}: another build is at work in it") from error
        yield


def _in_processes(
    entries: list[Entry],
    plan: ZooPlan,
    folder: Path,
    device: str,
    data_root: str | Path | None,
    workers: int,
) -> Iterator[Record]:
    """Yield the records of models that `workers` processes build, as they are finished."""
    pool = ProcessPoolExecutor(
        workers,
        mp_context=torch.multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(plan, folder, device, data_root, os.getpid()),
    )
    try:
        for future in as_completed([pool.submit(_build_in_worker, entry) for entry in entries]):
            yield future.result()
    finally:
        # A build that ends early does not wait for the models in flight.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """What a worker process keeps from one model to the next."""

    plan: ZooPlan
    folder: Path
    images: TrainTest
    device: torch.device


def _start_worker(
    plan: ZooPlan, folder: Path, device: str, data_root: str | Path | None, parent: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    _Worker.plan, _Worker.folder = plan, folder
    _Worker.images = plan.images.load(data_root)
    _Worker.device = torch.device(device)


def _build_in_worker(entry: Entry) -> Record:
    return build_model(entry, _Worker.plan, _Worker.images, _Worker.folder, _Worker.device)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed build leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
