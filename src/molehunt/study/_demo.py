"""The demo: the whole way on scikit-learn's digits, in a few minutes on two cores."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molehunt.backdoors import RandomPatches, Treatment
from molehunt.detectors import (
    AucResult,
    Detector,
    Evaluation,
    LitmusPatterns,
    NoisePatterns,
    WeightStatistics,
    count_verdicts,
    evaluate,
    fit_on_zoo,
    name_of,
    save_detector,
    shuffled_control,
)
from molehunt.files import make_folder, write_text
from molehunt.progress import ProgressOf, silent_parts
from molehunt.scanning import DetectorCheck, ScanResult, scan_subjects
from molehunt.study._demo_page import write_demo_page
from molehunt.study._hardware import hardware
from molehunt.study._zoos import zoo_figures
from molehunt.training import Recipe
from molehunt.zoo import (
    BackdoorPlan,
    ImagePlan,
    ModelCounts,
    NetworkPlan,
    RecipeSpread,
    Split,
    ZooPlan,
    build_zoo,
)

# Chosen on zoos of other seeds, by their calibration parts. Noise and shifts in training
# and a spread of recipes are what tells litmus patterns from noise here: networks that
# never saw noise answer any noise with their backdoor's target.
DEMO_PLAN = ZooPlan(
    name="digits demo",
    seed=0,
    images=ImagePlan(source="digits", size=16),
    network=NetworkPlan(name="vgg", arguments={"width": 8, "stages": [1, 1, 1]}),
    recipe=Recipe(epochs=14, batch_size=64, lr=0.01, weight_decay=0.017, shift=1, noise=0.4),
    recipe_spread=RecipeSpread(lr=2.0, weight_decay=6.0),
    backdoors=BackdoorPlan(
        trigger=RandomPatches(count=120, size=5), label_map="single_target", rate=0.6
    ),
    models={
        Split.FIT: ModelCounts(pairs=50),
        Split.CALIBRATION: ModelCounts(pairs=10, clean=30),
        Split.TEST: ModelCounts(pairs=36, placebo=24),
    },
)
SHUFFLES = 5


@dataclass(frozen=True)
class DemoResult:
    """What the demo made: its figures, and where the report and the detector lie."""

    figures: dict[str, Any]
    evaluations: dict[str, Evaluation]
    shuffled: AucResult
    scans: list[ScanResult]
    report: Path
    detector: Path


def run_demo(
    folder: Path,
    *,
    workers: int | None = None,
    progress_of: ProgressOf = silent_parts,
    plan: ZooPlan = DEMO_PLAN,
) -> DemoResult:
    """Build a zoo, fit and test detectors, scan two models, and write the report.

    Models that an interrupted demo finished are kept; the rest is made anew.

    Parameters
    ----------
    folder : Path
        Gets ``zoo/``, ``litmus.safetensors``, ``results.json`` and ``report.html``.
    workers : int, optional
        Processes; one a core when not given.
    progress_of : callable
        From the title of a part to its progress.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    started = time.perf_counter()
    make_folder(folder)
    with progress_of("building models") as progress:
        zoo = build_zoo(
            plan,
            folder / "zoo",
            workers=workers,
            device="cpu",
            progress=progress,
        )
    detectors: list[Detector] = [
        LitmusPatterns(device="cpu"),
        NoisePatterns(device="cpu"),
        WeightStatistics(),
    ]
    evaluations = {}
    for detector in detectors:
        with progress_of(f"fitting {name_of(detector)}") as progress:
            fit_on_zoo(detector, zoo, progress=progress)
        evaluations[name_of(detector)] = evaluate(detector, zoo)
    litmus = detectors[0]
    with progress_of("fitting on shuffled labels") as progress:
        shuffled = shuffled_control(litmus, zoo, repeats=SHUFFLES, progress=progress)
    file = folder / "litmus.safetensors"
    save_detector(litmus, file, zoo=zoo.summary(), evaluation=evaluations["litmus"])
    fitted = DetectorCheck.load(file)
    tested = zoo.select(Split.TEST)
    results = scan_subjects([zoo.path_of(record) for record in tested], [fitted])
    found = dict(zip((record.id for record in tested), results, strict=True))
    verdicts = {
        kind.value: count_verdicts(
            found[record.id].verdict for record in tested if record.treatment is kind
        )
        for kind in Treatment
    }
    # The first pair of the test part: neither of the two was chosen by its score.
    first = zoo.select(Split.TEST, Treatment.BACKDOORED)[0]
    scans = [found[str(first.twin)], found[first.id]]
    measured = {name: _detector_figures(found) for name, found in evaluations.items()}
    figures = {
        "zoo": zoo_figures(zoo),
        **measured,
        "controls": {
            "shuffled": shuffled.model_dump(mode="json"),
            "placebo": measured["litmus"]["placebo"],
        },
        # Of a scan of every test model, not of scores.
        "verdicts": {kind: counts.model_dump() for kind, counts in verdicts.items()},
        "scans": {
            kind.value: {"verdict": scan.verdict.value, "p": scan.findings[-1].p_value}
            for kind, scan in zip((Treatment.CLEAN, Treatment.BACKDOORED), scans, strict=True)
        },
        "seed": plan.seed,
        "hardware": hardware(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_text(folder / "results.json", json.dumps(figures, indent=2) + "\n")
    page = folder / "report.html"
    write_demo_page(page, zoo, evaluations, figures, scans, [fitted])
    return DemoResult(figures, evaluations, shuffled, scans, page, file)


def _detector_figures(found: Evaluation) -> dict[str, Any]:
    content = found.model_dump(mode="json", exclude={"roc", "auc"})
    return {**found.auc.model_dump(mode="json"), **content}
