"""Scanning a zoo folder: models a second, and the ratio to one model at a time."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks._litmus import PLAN
from molehunt.detectors import LitmusPatterns, fit_on_zoo, save_detector
from molehunt.scanning import DetectorCheck, find_candidates, scan_subjects
from molehunt.zoo import ModelCounts, Split, build_zoo

COUNTS = {
    Split.FIT: ModelCounts(pairs=4),
    Split.CALIBRATION: ModelCounts(pairs=1, clean=19),
    Split.TEST: ModelCounts(pairs=10),
}


def run() -> str:
    """Scan 49 models together and one call a model."""
    plan = PLAN.model_copy(update={"models": COUNTS, "recipe_spread": PLAN.recipe_spread})
    with tempfile.TemporaryDirectory() as folder:
        zoo = build_zoo(plan, Path(folder) / "zoo", device="cpu")
        detector = fit_on_zoo(LitmusPatterns(epochs=2, device="cpu"), zoo)
        file = Path(folder) / "litmus.safetensors"
        save_detector(detector, file)
        paths, fitted = find_candidates([zoo.folder / "models"]), [DetectorCheck.load(file)]
        scan_subjects(paths[:5], fitted)  # start-up
        started = time.perf_counter()
        scan_subjects(paths, fitted)
        together = len(paths) / (time.perf_counter() - started)
        started = time.perf_counter()
        for path in paths:
            scan_subjects([path], fitted)
        alone = len(paths) / (time.perf_counter() - started)
    return (
        f"{together:.0f} models a second, {together / alone:.1f}x one call a model "
        f"({len(paths)} models, {os.cpu_count()} cores)"
    )
