"""Universal Litmus Patterns on MNIST, CIFAR-10 and GTSRB: the paper's experiments."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molehunt.detectors import load_detector
from molehunt.errors import InvalidRequestError, refused
from molehunt.files import write_text
from molehunt.report import (
    StudyFigure,
    write_study_docs,
    write_study_page,
)
from molehunt.resumable import check_workers
from molehunt.studies._examinations import examine_all
from molehunt.studies._run import Counter, Progress, StudyResult, make_folders
from molehunt.studies.ulp._figures import NAMES, picture_figure, trigger_figure
from molehunt.studies.ulp._fits import (
    detector_file,
    fit_all,
    fit_tasks,
    score_all,
    score_tasks,
)
from molehunt.studies.ulp._page import page_of
from molehunt.studies.ulp._plan import BASE, UlpPlan, ulp_plan
from molehunt.studies.ulp._results import UlpRecords, results_of
from molehunt.studies.ulp._tables import DRAWN, Results, auc_table
from molehunt.study._folders import results_in
from molehunt.study._hardware import hardware
from molehunt.study._zoos import ZOOS_FOLDER
from molehunt.zoo import Split, Zoo, build_zoo

ULP_SETS = ("mnist", "cifar10", "gtsrb")


def run_ulp(
    images: str,
    folder: Path,
    *,
    scale: str = "quick",
    source: str | None = None,
    draw: int = 0,
    table_only: bool = False,
    searches: Sequence[str] | None = None,
    data_root: str | Path | None = None,
    workers: int | None = None,
    docs: Path | None = None,
    progress: Progress,
) -> StudyResult:
    """Run the study on one image set, or go on with one that was interrupted.

    Parameters
    ----------
    images : {"mnist", "cifar10", "gtsrb"}
    folder : Path
        Of this draw alone. Gets ``zoos/``, ``detectors/``, an index of each kind of work,
        ``results.json`` and ``report.html``.
    scale : {"smoke", "quick", "full"}
    source : str, optional
        Where the images come from, in place of torchvision's layout (``folder:PATH``).
    draw : int
        0, or another to see what other models and triggers give.
    table_only : bool
        Leave out poison ratios and variants; a later run without it goes on with them.
    searches : sequence of str, optional
        Which searches for triggers to run, of ``pairwise`` and ``neural-cleanse``, the slow
        part; both when not given.
    data_root : path, optional
        Where the images lie; see `molehunt.images.load_images`.
    workers : int, optional
        Processes; one a core when not given.
    docs : Path, optional
        A folder that gets the report as Markdown with PNG figures, together with the
        other sets whose results it holds already. Draws other than 0 are reported beside
        draw 0 of the same set and scale, which must be there.
    progress : callable
        Gives a context manager for a title; what that yields is called with (done, total).

    Raises
    ------
    InvalidRequestError, DataNotFoundError, OutputError, BuildInterruptedError
        As `molehunt.zoo.build_zoo`.
    """
    if images not in ULP_SETS:
        raise InvalidRequestError(refused("image set", ", ".join(ULP_SETS), repr(images)))
    plan = ulp_plan(images, scale, source, draw)
    command = f"molehunt study ulp-{images} --scale {scale}"
    if source is not None:
        command += f" --images {source.partition(':')[0]}:PATH"
    if draw:
        command += f" --draw {draw}"
    if table_only:
        plan = replace(plan, rates={}, variants={})
        command += " --table-only"
    if searches is not None:
        unknown = set(searches) - set(plan.searches)
        if unknown:
            allowed = ", ".join(plan.searches)
            raise InvalidRequestError(refused("searches", allowed, ", ".join(sorted(unknown))))
        plan = replace(plan, searches={name: plan.searches[name] for name in searches})
        command += f" --searches {','.join(searches) or 'none'}"
    check_workers(workers)
    others = results_in(docs, ULP_SETS) if docs is not None else {}
    held = others.get(images, {}).get("scale", "none")
    if docs is not None and draw and held != scale:
        allowed = f"draw 0 of {images} at scale {scale}, to report others beside it"
        raise InvalidRequestError(refused(f"results in {docs}", allowed, f"scale {held}"))
    make_folders(folder, docs)
    processes = workers or os.cpu_count() or 1
    zoos = _build(plan, folder, workers, data_root, progress)
    with progress("fitting detectors") as report:
        fits = fit_all(fit_tasks(plan), folder, workers=processes, on_record=Counter(report))
    with progress("scoring models") as report:
        scores = score_all(score_tasks(plan), folder, workers=processes, on_record=Counter(report))
    searched = {name: plan.zoos[name] for name in (BASE, *plan.rate_zoos.values())}
    with progress("searching for triggers") as report:
        examinations = examine_all(
            searched,
            folder,
            {name: tuple(plan.searches) for name in searched},
            settings=plan.searches,
            workers=processes,
            data_root=data_root,
            on_record=Counter(report),
        )
    results = {
        images: {
            **results_of(plan, zoos, UlpRecords.of(fits, scores, examinations)),
            "setting": plan.setting,
            "mixed_pairs": max(
                (zoo.models[Split.FIT].pairs for zoo in plan.variants.values()), default=0
            ),
            "scale": scale,
            "command": command,
            "workers": processes,
            "torch": torch.__version__,
            "hardware": hardware(),
        }
    }
    pictures = _pictures(images, folder, zoos[BASE])
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    path = folder / "report.html"
    write_study_page(path, page_of(results, pictures))
    if docs is not None:
        together = _together(others, images, draw, results[images])
        known = {
            picture.name: picture
            for name in together
            for picture in (pictures.values() if (name, draw) == (images, 0) else _captions(name))
        }
        write_study_docs(docs, page_of(together, known), together)
    return StudyResult(results, auc_table(results), path)


def _together(others: Results, images: str, draw: int, found: dict[str, Any]) -> dict[str, Any]:
    """Return what a folder of documents holds once the results of a draw are among it."""
    before = others.get(images, {})
    draws = dict(before.get("draws", {})) if before.get("scale") == found["scale"] else {}
    if draw:
        draws[str(draw)] = {key: found[key] for key in DRAWN if key in found}
        found = before
    draws = {key: draws[key] for key in sorted(draws, key=int)}
    together = {**others, images: {**found, "draws": draws}}
    return {name: together[name] for name in ULP_SETS if name in together}


def _build(
    plan: UlpPlan,
    folder: Path,
    workers: int | None,
    data_root: str | Path | None,
    progress: Progress,
) -> dict[str, Zoo]:
    zoos = {}
    for name, zoo in plan.zoos.items():
        with progress(f"building {name}") as report:
            zoos[name] = build_zoo(
                zoo,
                folder / ZOOS_FOLDER / name,
                workers=workers,
                data_root=data_root,
                on_model=Counter(report),
            )
    return zoos


def _captions(images: str) -> list[StudyFigure]:
    """Return the pictures of a set as files that lie there already."""
    name = NAMES[images]
    return [
        StudyFigure(f"patterns-{images}", f"{name}: the ten litmus patterns.", None),
        StudyFigure(f"triggers-{images}", f"{name}: triggers of the zoo.", None),
    ]


def _pictures(images: str, folder: Path, zoo: Zoo) -> Mapping[str, StudyFigure]:
    detector, _ = load_detector(detector_file(folder, "litmus-10"))
    triggers = {record.backdoor.trigger.model_dump_json(): record for record in zoo.records}
    shape = zoo.models(zoo.records[:1])[0].card.input_shape
    figures = [
        picture_figure([*np.asarray(detector.patterns_, dtype=np.float64)]),
        trigger_figure([record.backdoor.trigger for record in triggers.values()][:20], shape),
    ]
    return {
        item.name: StudyFigure(item.name, item.caption, figure)
        for item, figure in zip(_captions(images), figures, strict=True)
    }
