"""BadNets' traffic signs as a classification study on GTSRB (version 2, section 5)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from molehunt.files import write_text
from molehunt.report import write_study_page
from molehunt.resumable import check_workers
from molehunt.studies._run import Counter, Progress, StudyResult, make_folders
from molehunt.studies.signs._docs import PARTS, signs_page, write_signs_docs
from molehunt.studies.signs._paper import PAPER
from molehunt.studies.signs._plan import CARRIED
from molehunt.studies.signs._sections import signs_summary
from molehunt.studies.signs._twin_figures import (
    activation_figure,
    sticker_figure,
    strength_figure,
)
from molehunt.studies.signs._twin_models import build_networks, open_workshop
from molehunt.studies.signs._twin_plan import signs_twin_plan
from molehunt.studies.signs._twin_results import results_of
from molehunt.study._folders import add_run, results_in, runs_of

KEY = "gtsrb_twin"  # of results.json, which the study of the detector is in too


def run_signs_twin(
    folder: Path,
    *,
    scale: str = "quick",
    data_root: str | Path | None = None,
    workers: int | None = None,
    docs: Path | None = None,
    progress: Progress,
) -> StudyResult:
    """Run the study, or go on with one that was interrupted, and write its report.

    Parameters
    ----------
    folder : Path
        Gets ``models/``, an index of each country's networks, ``results.json`` and
        ``report.html``.
    scale : {"smoke", "quick", "full"}
        ``smoke`` takes digits in the place of signs: it shows that the study works.
    data_root : path, optional
        Where GTSRB lies; see `molehunt.images.load_images`.
    workers : int, optional
        Processes; one a core when not given.
    docs : Path, optional
        A folder that gets the report as Markdown with PNG figures, beside other parts of
        the traffic-sign study that it holds already.
    progress : callable
        Gives a context manager for a title; what that yields is called with (done, total).

    Raises
    ------
    InvalidRequestError
        For an unknown scale, impossible workers, or a folder of another plan.
    DataNotFoundError
        If GTSRB is not there.
    UnreadableFileError
        If the documents' ``results.json`` is not one of ours.
    OutputError
        If a folder cannot be written.
    BuildInterruptedError
        After Ctrl-C; finished networks are kept.
    """
    started = time.perf_counter()
    plan = signs_twin_plan(scale)
    check_workers(workers)
    make_folders(folder, docs)
    if docs is not None:
        results_in(docs, PARTS)
    shop = open_workshop(plan, folder, data_root)
    with progress("building networks") as report:
        built = Counter(report)
        networks, transfers = build_networks(
            shop, workers=workers, data_root=data_root, on_model=built
        )
    command = f"molehunt study badnets-gtsrb --scale {scale}"
    command += f" --workers {workers}" if workers else ""
    if built.made:
        seconds = time.perf_counter() - started
        add_run(folder, seconds, workers, networks=built.made, command=command)
    results = {
        **results_of(networks, transfers, shop),
        "carried": CARRIED,
        "target": shop.first.test.class_names[plan.countries.first.index(plan.countries.target)],
        "paper": PAPER,
        "plan": plan.model_dump(mode="json"),
        "scale": scale,
        "command": command,
        "torch": torch.__version__,
        "runs": runs_of(folder),
    }
    drawn = {
        "gtsrb-stickers": sticker_figure(shop),
        "gtsrb-activations": activation_figure(results["activations"]),
        "gtsrb-strength": strength_figure(
            results["strengthening"], PAPER["strengthening"], results["transfer"]["honest"]
        ),
    }
    write_text(folder / "results.json", json.dumps({KEY: results}, indent=2) + "\n")
    path = folder / "report.html"
    write_study_page(path, signs_page({KEY: results}, drawn))
    if docs is not None:
        write_signs_docs(docs, KEY, results, drawn)
    return StudyResult(results, signs_summary(results), path, trained=built.made)
