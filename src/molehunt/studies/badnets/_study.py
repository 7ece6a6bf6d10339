"""BadNets on MNIST: the case study of Gu, Dolan-Gavitt and Garg (version 2, section 4)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from molehunt.backdoors import AllToAll, Backdoor
from molehunt.files import write_text
from molehunt.images import TrainTest
from molehunt.networks import Classifier, load_model
from molehunt.report import write_study_docs, write_study_page
from molehunt.resumable import check_workers
from molehunt.studies._folders import add_run, make_folders, runs_of
from molehunt.studies._run import Counter, Progress, StudyResult
from molehunt.studies.badnets import _figures as figures
from molehunt.studies.badnets._analysis import (
    backdoor_filters,
    chance_triggers,
    dormant_figures,
    first_filters,
    trigger_responses,
)
from molehunt.studies.badnets._models import Workshop, build_models, model_path, open_workshop
from molehunt.studies.badnets._page import page_of
from molehunt.studies.badnets._plan import BASELINE, TRIGGERS, plan_of
from molehunt.studies.badnets._results import PAPER, results_of
from molehunt.studies.badnets._sections import NAMES, summary_table

VALIDATION_IMAGES = 10_000  # the last ones of the training set


def run_badnets_mnist(
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
        Gets ``models/``, ``index.jsonl``, ``results.json`` and ``report.html``.
    scale : {"smoke", "quick", "full"}
    data_root : path, optional
        Where MNIST lies; see `molehunt.images.load_images`.
    workers : int, optional
        Processes; one a core when not given.
    docs : Path, optional
        A folder that gets the report as Markdown with PNG figures.
    progress : callable
        Gives a context manager for a title; what that yields is called with (done, total).

    Raises
    ------
    InvalidRequestError
        For an unknown scale, impossible workers, or a folder of another plan.
    DataNotFoundError
        If MNIST is not there.
    OutputError
        If a folder cannot be written.
    BuildInterruptedError
        After Ctrl-C; finished models are kept.
    """
    started = time.perf_counter()
    plan = plan_of(scale)
    check_workers(workers)
    make_folders(folder, docs)
    shop = open_workshop(plan, folder, data_root)
    with progress("building models") as report:
        built = Counter(report)
        records = build_models(shop, workers=workers, data_root=data_root, on_model=built)
    if built.made:
        add_run(folder, time.perf_counter() - started, workers, models=built.made)
    results = {
        **results_of(records, shop.images.test),
        **_insides(shop),
        "corner": {name: chance_triggers(shop.images, TRIGGERS[name]) for name in TRIGGERS},
        "paper": PAPER,
        "scale": scale,
        "seed": plan.seed,
        "workers": workers,
        "command": f"molehunt study badnets-mnist --scale {scale}"
        + (f" --workers {workers}" if workers else ""),
        "torch": torch.__version__,
        "runs": runs_of(folder),
    }
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    page = page_of(results, plan, _drawn(shop, results))
    path = folder / "report.html"
    write_study_page(path, page)
    if docs is not None:
        write_study_docs(docs, page, results)
    return StudyResult(results, summary_table(results), path, trained=built.made)


def _insides(shop: Workshop) -> dict[str, Any]:
    """Return the filters and the dormant units of the clean network and of two BadNets."""
    images = shop.images.train
    last = torch.arange(max(0, len(images) - VALIDATION_IMAGES), len(images))
    validation = TrainTest(images.take(last), shop.images.test)
    honest = load_model(model_path(shop.folder, BASELINE))
    filters, dormant = {}, {}
    for name, trigger in TRIGGERS.items():
        backdoor = Backdoor(trigger=trigger, label_map=AllToAll())
        usual = trigger_responses(honest, shop.images.test, trigger)
        model = _all_to_all(shop, name)
        responses = trigger_responses(model, shop.images.test, trigger)
        filters[name] = {
            "responses": [round(float(value), 4) for value in responses],
            "clean_network": [round(float(value), 4) for value in usual],
            "backdoor_filters": backdoor_filters(responses, usual),
        }
        dormant[name] = {
            unit: {
                "clean_network": dormant_figures(honest, validation, backdoor, unit),
                "badnet": dormant_figures(model, validation, backdoor, unit),
            }
            for unit in ("channel", "neuron")
        }
    return {"filters": filters, "dormant_units": dormant}


def _all_to_all(shop: Workshop, trigger: str) -> Classifier:
    return load_model(model_path(shop.folder, f"{trigger}-all-to-all"))


def _drawn(shop: Workshop, results: dict[str, Any]) -> dict[str, Figure]:
    """Return the study's figures by name."""
    networks = {"clean network": first_filters(load_model(model_path(shop.folder, BASELINE)))}
    marked, responses = {}, {}
    for name in TRIGGERS:
        title = f"all-to-all BadNet, {NAMES[name]}"
        networks[title] = first_filters(_all_to_all(shop, name))
        found = results["filters"][name]
        marked[title] = found["backdoor_filters"]
        responses[title] = (found["responses"], found["clean_network"])
    return {
        "triggers": figures.trigger_figure(
            shop.images.test, {NAMES[name]: trigger for name, trigger in TRIGGERS.items()}
        ),
        "single-pixel-pairs": figures.heat_maps(results["single_target"]),
        "pattern-pairs": figures.heat_maps(results["single_target_pattern"]),
        "poison-rate": figures.rate_figure(
            results["poison_rate"], results["baseline"]["clean_error"]
        ),
        "filters": figures.filter_figure(networks, marked),
        "filter-responses": figures.response_bars(responses),
    }
