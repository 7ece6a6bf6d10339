"""BadNets' traffic signs with detectors on street scenes (version 2, section 5)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from matplotlib.figure import Figure

from molehunt.errors import InvalidRequestError, refused
from molehunt.files import sha256_of, write_text
from molehunt.report import write_study_page
from molehunt.resumable import check_workers, one_thread, read_records
from molehunt.scenes import features_from
from molehunt.studies._run import Counter, Progress, StudyResult, make_folders
from molehunt.studies.signs._detector_figures import photograph_figure, scene_sticker_figure
from molehunt.studies.signs._detector_models import build_networks
from molehunt.studies.signs._detector_plan import signs_detector_plan
from molehunt.studies.signs._detector_records import (
    DetectorRecord,
    DetectorTransferRecord,
    FeaturesRecord,
    StartRecord,
)
from molehunt.studies.signs._detector_results import detector_results
from molehunt.studies.signs._detector_shop import (
    FEATURES_INDEX,
    NETWORKS_INDEX,
    STARTS_INDEX,
    TRANSFERS_INDEX,
    DetectorShop,
    open_detector_shop,
)
from molehunt.studies.signs._docs import PARTS, signs_page, write_signs_docs
from molehunt.studies.signs._paper import PAPER
from molehunt.studies.signs._plan import CARRIED
from molehunt.studies.signs._sections import signs_summary
from molehunt.studies.signs._twin_figures import activation_figure, strength_figure
from molehunt.study._folders import add_run, results_in, runs_of

Part = Literal["attacks", "transfer"]
KEY = "detector"  # of results.json, which the classification twin is in too


def run_signs_detector(
    folder: Path,
    *,
    part: Part = "attacks",
    scale: str = "quick",
    features: Path | None = None,
    data_root: str | Path | None = None,
    workers: int | None = None,
    docs: Path | None = None,
    progress: Progress,
) -> StudyResult:
    """Run a part of the study, or go on with one that was interrupted, and write its report.

    Parameters
    ----------
    folder : Path
        Gets ``models/``, an index of each country's networks, ``results.json`` and
        ``report.html``. Both parts have the same; the report is of all that is there.
    part : {"attacks", "transfer"}
        The baseline and the six BadNets of the first country; or the baseline, the BadNet that
        is carried to the second country, and the networks there.
    scale : {"smoke", "quick", "full"}
        ``smoke`` takes drawn shapes in the place of signs: it shows that the study works.
    features : Path, optional
        A file of a ``zf`` classifier whose convolutions all detectors start with, in place of
        one that is trained on cut-out signs.
    data_root : path, optional
        Where the scenes and GTSRB lie; see `molehunt.scenes.load_scenes`.
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
        For an unknown scale, impossible workers, features of another width, or a folder of
        another plan.
    DataNotFoundError
        If the scenes or GTSRB are not there.
    UnreadableFileError
        If the scenes, the features or the documents' ``results.json`` cannot be read.
    OutputError
        If a folder cannot be written.
    BuildInterruptedError
        After Ctrl-C; finished networks are kept.
    """
    started = time.perf_counter()
    plan = signs_detector_plan(scale)
    check_workers(workers)
    if features is not None:
        width = float(features_from(features).card.arguments.get("width", 1.0))
        if width != plan.width:
            raise InvalidRequestError(refused(f"{features}: width", plan.width, width))
        plan = plan.model_copy(update={"features_sha256": sha256_of(features)})
    make_folders(folder, docs)
    if docs is not None:
        results_in(docs, PARTS)
    shop = open_detector_shop(plan, folder, data_root, features)
    processes = workers or os.cpu_count() or 1
    tasks = plan.carried() if part == "transfer" else plan.networks()

    with progress("building networks") as report, one_thread():
        built = Counter(report)
        build_networks(
            shop,
            tasks,
            transfers=part == "transfer",
            workers=processes,
            data_root=data_root,
            on_model=built,
        )
    command = f"molehunt study badnets-{'signs' if part == 'attacks' else 'transfer'}"
    command += f" --scale {scale}" + (" --features FILE" if features else "")
    command += f" --workers {workers}" if workers else ""
    if built.made:
        seconds = time.perf_counter() - started
        add_run(folder, seconds, workers, networks=built.made, command=command)
    networks = read_records(folder / NETWORKS_INDEX, DetectorRecord)
    transfers = read_records(folder / TRANSFERS_INDEX, DetectorTransferRecord)
    if len(transfers) < len(plan.transfers({})):
        transfers = []  # an interrupted call left some: no table has them all
    starts = read_records(folder / STARTS_INDEX, StartRecord)
    learned = read_records(folder / FEATURES_INDEX, FeaturesRecord)
    runs = runs_of(folder)
    trained: list[Any] = [*networks, *transfers, *starts, *learned]
    results = {
        **detector_results(networks, transfers, starts, shop),
        "core_seconds": round(sum(each.seconds for each in trained), 1),
        "networks": len(trained),
        "features_accuracy": learned[0].accuracy if learned else None,
        "carried": CARRIED,
        "paper": PAPER,
        "plan": plan.model_dump(mode="json"),
        "scale": scale,
        "commands": list(dict.fromkeys(run["command"] for run in runs)),
        "torch": torch.__version__,
        "runs": runs,
    }
    drawn = _figures(results, networks, shop)
    write_text(folder / "results.json", json.dumps({KEY: results}, indent=2) + "\n")
    path = folder / "report.html"
    write_study_page(path, signs_page({KEY: results}, drawn))
    if docs is not None:
        write_signs_docs(docs, KEY, results, drawn)
    return StudyResult(results, signs_summary(results), path, trained=built.made)


def _figures(
    results: dict[str, Any], networks: Sequence[DetectorRecord], shop: DetectorShop
) -> dict[str, Figure]:
    """Draw what there are results of."""
    drawn = {"detector-stickers": scene_sticker_figure(shop)}
    if results["single_target"]:
        picture = next(iter(results["single_target"]))
        turned = next(
            record
            for record in networks
            if (record.attack, record.picture) == ("single target", picture)
        )
        drawn["detector-photo"] = photograph_figure(shop, turned.id, picture)
    if "activations" in results:
        drawn["detector-activations"] = activation_figure(results["activations"])
    if "strengthening" in results:
        drawn["detector-strength"] = strength_figure(
            results["strengthening"], PAPER["strengthening"], results["transfer"]["honest"]
        )
    return drawn
