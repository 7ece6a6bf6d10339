"""Run a study: do what is missing, measure, and write the report."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel

from molehunt.files import make_folder, write_text
from molehunt.progress import Progress, ProgressOf, silent_parts
from molehunt.resumable import check_workers, store_plan
from molehunt.study._folders import add_run, results_in, runs_of
from molehunt.study._hardware import hardware
from molehunt.study._report import Table
from molehunt.study._stages import Bench
from molehunt.study._study import Study, plan_for

log = logging.getLogger(__name__)
PLAN_FILE = "study.json"
P = TypeVar("P", bound=BaseModel)
B = TypeVar("B", bound=Bench[Any])


@dataclass(frozen=True)
class StudyResult:
    """What a run found: its figures, the report's first table, and the page.

    `made` is how many models (or what the study's stages make) this run made; the others were
    there already.
    """

    figures: dict[str, Any]
    summary: Table
    report: Path
    made: int


def run(
    study: Study[P, B],
    folder: Path,
    *,
    scale: str = "quick",
    settings: Sequence[str] = (),
    docs: Path | None = None,
    data_root: str | Path | None = None,
    workers: int | None = None,
    progress_of: ProgressOf = silent_parts,
) -> StudyResult:
    """Run a study, or go on with a run that was interrupted, and write its report.

    Parameters
    ----------
    study : Study
    folder : Path
        Gets what the stages make, ``results.json`` and ``report.html``.
    scale : str
        One of the study's.
    settings : sequence of str
        ``KEY=VALUE``, as in `plan_for`.
    docs : Path, optional
        A folder that gets the report as Markdown with PNG figures. Parts of it that other
        studies wrote stay.
    data_root : path, optional
        Where the images lie; see `molehunt.images.load_images`.
    workers : int, optional
        Processes; one a core when not given.
    progress_of : callable
        From a stage's name to its progress.

    Raises
    ------
    InvalidRequestError
        For an unknown scale or setting, impossible workers, or a folder of another plan.
    DataNotFoundError, UnreadableFileError
        If the images are not there, or `docs` holds a report of another study.
    OutputError
        If a folder cannot be written.
    BuildInterruptedError
        After Ctrl-C; the finished models are kept.
    """
    started = time.perf_counter()
    plan = plan_for(study, scale, settings)
    check_workers(workers)
    report, part = study.report, study.part
    others = results_in(docs, report.parts) if docs is not None and part else {}
    if docs is not None and part:
        report.check_beside(others, part, plan, scale)
    for place in (folder, docs):
        if place is not None:
            make_folder(place)
    # Excluded fields may change from run to run.
    store_plan(folder / PLAN_FILE, type(plan).model_validate_json(plan.model_dump_json()))
    bench = study.bench(plan, folder, data_root)
    records: dict[str, Sequence[Any]] = {}
    made = 0
    for stage in study.stages:
        with progress_of(stage.name) as show:
            counter = _Counter(show)
            processes = workers or os.cpu_count() or 1
            records[stage.name] = stage.run(bench, records, processes, counter)
            made += counter.made
        log.info("%s: %d made, the rest was there", stage.name, counter.made)
    command = _command(study.name, scale, workers, settings)
    if made:
        seconds = time.perf_counter() - started
        add_run(folder, seconds, workers, **{study.unit: made, "command": command})
    results = {
        **study.measures(bench, records),
        "scale": scale,
        "command": command,
        "workers": workers or os.cpu_count() or 1,
        "torch": torch.__version__,
        "hardware": hardware(),
        "runs": runs_of(folder),
    }
    shown = {part: results} if part else results
    pictures, films = study.pictures(bench, results), study.films(bench, results)
    write_text(folder / "results.json", json.dumps(shown, indent=2) + "\n")
    page = folder / "report.html"
    text = report.write_page(page, shown, pictures, films)
    if docs is not None:
        together = report.put_beside(others, part, results, plan) if part else results
        own = not part or together[part].get("command") == command
        report.write_docs(docs, together, *((pictures, films) if own else ({}, {})))
    return StudyResult(results, Table.first_of(text), page, made)


class _Counter:
    """Passes (done, total) on, and counts its calls as `made`."""

    def __init__(self, show: Progress) -> None:
        self.made = 0
        self._show = show

    def __call__(self, done: int, total: int) -> None:
        self.made += 1
        self._show(done, total)


def _command(name: str, scale: str, workers: int | None, settings: Sequence[str]) -> str:
    """Return the command of a run; nobody else has its paths."""
    words = [f"molehunt study {name} --scale {scale}"]
    words += [f"--workers {workers}"] * bool(workers)
    words += [f"--set {re.sub(r'[^=:,]*/[^,]*', 'PATH', text)}" for text in settings]
    return " ".join(words)
