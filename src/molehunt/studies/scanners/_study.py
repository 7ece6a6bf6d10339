"""Scanners without a zoo, on held-out models: AUC, false alarms, seconds a model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from molehunt.detectors import LitmusPatterns, fit_on_zoo
from molehunt.files import write_text
from molehunt.report import write_study_docs, write_study_page
from molehunt.resumable import check_workers
from molehunt.studies._examinations import examine_all
from molehunt.studies._folders import make_folders
from molehunt.studies._hardware import hardware
from molehunt.studies._run import Counter, Progress, StudyResult
from molehunt.studies._zoos import ZOOS_FOLDER, zoo_figures
from molehunt.studies.scanners._other import audit_zoos
from molehunt.studies.scanners._page import auc_table, page_of
from molehunt.studies.scanners._plan import plans_of
from molehunt.studies.scanners._results import litmus_results, results_of
from molehunt.zoo import Split, Zoo, ZooPlan, build_zoo

DETECTORS = ("final-layer", "margin", "neural-cleanse", "pairwise")
# As `molehunt scan --clean` takes them by default.
TOGETHER = ("margin", "final-layer", "neural-cleanse")
# With 43 classes Neural Cleanse takes four times as long a model as with ten, and the
# pairwise search has 1,806 pairs in place of 90: hours for a zoo on two cores.
SEARCHES = ("neural-cleanse", "pairwise")
MOST_CLASSES_TO_SEARCH = 10


def run_scanners(
    folder: Path,
    *,
    scale: str = "quick",
    data_root: str | Path | None = None,
    workers: int | None = None,
    docs: Path | None = None,
    modelaudit: Path | None = None,
    progress: Progress,
) -> StudyResult:
    """Run the study, or go on with one that was interrupted, and write its report.

    Parameters
    ----------
    folder : Path
        Gets ``zoos/``, ``examinations.jsonl``, ``results.json`` and ``report.html``.
    scale : {"smoke", "quick", "full"}
    data_root : path, optional
        Where the images lie; see `molehunt.images.load_images`.
    workers : int, optional
        Processes; one a core when not given.
    docs : Path, optional
        A folder that gets the report as Markdown with PNG figures.
    modelaudit : Path, optional
        The command of modelaudit, installed in an environment of its own.
    progress : callable
        Gives a context manager for a title; what that yields is called with (done, total).

    Raises
    ------
    InvalidRequestError, DataNotFoundError, OutputError, BuildInterruptedError
        As `molehunt.zoo.build_zoo`; and if `modelaudit` cannot be run.
    """
    plans = plans_of(scale)
    check_workers(workers)
    make_folders(folder, docs)
    processes = workers or os.cpu_count() or 1
    zoos = _build(plans, folder, processes, data_root, progress)
    classes = {name: zoo.models(zoo.records[:1])[0].card.num_classes for name, zoo in zoos.items()}
    detectors = {
        name: tuple(
            detector
            for detector in DETECTORS
            if detector not in SEARCHES or classes[name] <= MOST_CLASSES_TO_SEARCH
        )
        for name in zoos
    }
    with progress("examining models") as report:
        records = examine_all(
            plans,
            folder,
            detectors,
            workers=processes,
            data_root=data_root,
            on_record=Counter(report),
        )
    results = {
        "detectors": results_of(records, detectors, TOGETHER),
        "litmus": _litmus(zoos, progress),
        "modelaudit": audit_zoos(modelaudit, zoos) if modelaudit is not None else None,
        "zoos": {name: {**zoo_figures(zoo), "seed": zoo.plan.seed} for name, zoo in zoos.items()},
        "scale": scale,
        "command": f"molehunt study scanners --scale {scale}",
        "torch": torch.__version__,
        "hardware": hardware(),
    }
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    page = page_of(results)
    path = folder / "report.html"
    write_study_page(path, page)
    if docs is not None:
        write_study_docs(docs, page, results)
    return StudyResult(results, auc_table(results), path)


def _build(
    plans: Mapping[str, ZooPlan],
    folder: Path,
    workers: int,
    data_root: str | Path | None,
    progress: Progress,
) -> dict[str, Zoo]:
    zoos = {}
    for name, plan in plans.items():
        with progress(f"building {name}") as report:
            zoos[name] = build_zoo(
                plan,
                folder / ZOOS_FOLDER / name,
                workers=workers,
                device="cpu",
                data_root=data_root,
                on_model=Counter(report),
            )
    return zoos


def _litmus(zoos: Mapping[str, Zoo], progress: Progress) -> dict[str, Any]:
    """Fit litmus patterns on each zoo with a fitting part; try them on zoos of its images."""
    found: dict[str, Any] = {}
    for name, zoo in zoos.items():
        if not zoo.select(Split.FIT) or name in found:
            continue
        with progress(f"fitting litmus on {name}") as report:
            detector = fit_on_zoo(LitmusPatterns(device="cpu"), zoo, on_step=report)
        alike = {
            other: its
            for other, its in zoos.items()
            if its.plan.images == zoo.plan.images and its.plan.network == zoo.plan.network
        }
        found.update(litmus_results(detector, alike))
    return found
