"""Detector files that were written before are read for ever, and score as they did.

`golden/` holds a file of each detector, fitted on the tiny zoo of `tests.conftest`, two of
its models and what the detectors said of them when the files were written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.detectors import load_detector, name_of
from molehunt.images import load_images
from molehunt.networks import load_model

GOLDEN = Path(__file__).parent / "golden"
SCORES: dict[str, dict[str, dict[str, float]]] = json.loads((GOLDEN / "scores.json").read_text())
# A search's steps are in bfloat16 where that helps, and in the order of a machine's cores.
SEARCHES = {"margin", "neural-cleanse", "pairwise"}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("model", ["clean", "backdoored"])
def test_an_old_detector_file_scores_as_it_did(name: str, model: str) -> None:
    images = load_images("digits", size=12).test
    detector, card = load_detector(GOLDEN / f"{name}.safetensors", images=images)
    assert name_of(detector) == card.detector == name
    (score,) = detector.decision_function([load_model(GOLDEN / f"model-{model}.safetensors")])
    told = SCORES[name][model]
    assert score == pytest.approx(told["score"], rel=0.1 if name in SEARCHES else 1e-5)
    if name not in SEARCHES:
        assert detector.p_values([score])[0] == told["p_value"]


@pytest.mark.parametrize("name", ["litmus", "statistics", "final-layer"])
def test_an_old_detector_file_scans(name: str, tmp_path: Path) -> None:
    model, report = GOLDEN / "model-backdoored.safetensors", tmp_path / "report.json"
    file = GOLDEN / f"{name}.safetensors"
    code = run(["scan", str(model), "-d", str(file), "--json", str(report)])
    (subject,) = json.loads(report.read_text())["subjects"]
    (finding,) = [f for f in subject["findings"] if f["check"] == name]
    assert finding["score"] == pytest.approx(SCORES[name]["backdoored"]["score"], rel=1e-5)
    assert code in (0, 1, 3)
