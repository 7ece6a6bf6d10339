"""First scans: detectors that need no zoo, alone and together."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from molehunt.backdoors import Treatment
from molehunt.cli import run
from molehunt.detectors import FinalLayer, MaximumMargin, NeuralCleanse, fit_on_zoo, save_detector
from molehunt.errors import InvalidRequestError
from molehunt.findings import Picture, Status, Verdict
from molehunt.images import TrainTest
from molehunt.networks import BlackBox, load_model, save_model
from molehunt.scanning import DetectorCheck, new_check, pick_checks, scan, scan_subjects
from molehunt.scanning._check import judge
from molehunt.zoo import Split, Zoo


@pytest.fixture(scope="module")
def path(zoo: Zoo) -> Path:
    return zoo.path_of(zoo.select(Split.TEST, Treatment.BACKDOORED)[0])


def test_a_first_scan_needs_a_model_only(path: Path, tmp_path: Path, capfd) -> None:
    found = tmp_path / "scan.json"
    code = run(["scan", str(path), "--json", str(found)])
    (subject,) = json.loads(found.read_text())["subjects"]
    statuses = {finding["check"]: finding["status"] for finding in subject["findings"]}
    assert list(statuses) == ["serialization", "margin", "final-layer"]
    assert statuses["serialization"] == "clear"
    assert code in (0, 1, 3)
    said = capfd.readouterr().out
    assert "images 1x12x12" in said and "mean" in said  # the contract that was used
    for finding in subject["findings"][1:]:
        assert finding["null"].startswith("120 clean models of 4 architectures")
        assert finding["threshold"] == pytest.approx(0.025)


def test_clean_images_bring_pictures_of_the_trigger(
    path: Path, digits: TrainTest, tmp_path: Path
) -> None:
    fitted = DetectorCheck("neural-cleanse", NeuralCleanse(steps=20))
    (result,) = scan_subjects([path], [fitted], clean=digits.test)
    finding = result.findings[-1]
    pictures = [exhibit for exhibit in finding.exhibits if isinstance(exhibit, Picture)]
    alone, *others = pictures
    assert "reconstructed trigger" in alone.caption and len(others) == 3
    for picture in pictures:
        assert picture.pixels.shape == (1, 12, 12)
        assert picture.pixels.min() >= 0 and picture.pixels.max() <= 1
    assert result.findings[1].check == "contract" and "accuracy" in result.findings[1].message


def test_alarms_by_a_null_that_does_not_hold_are_suspicions(zoo: Zoo, path: Path) -> None:
    """Calibrated on reference models the same detector alarms; without it abstains."""
    calibrated = fit_on_zoo(MaximumMargin(steps=30), zoo)
    fresh = MaximumMargin(steps=30)
    seen = set()
    for record in zoo.select(Split.TEST, Treatment.BACKDOORED):
        model = load_model(zoo.path_of(record))
        ((alone,),) = judge([model], [DetectorCheck("margin", fresh)], None, 0.5)
        ((known,),) = judge([model], [DetectorCheck("margin", calibrated)], None, 0.5)
        assert alone.score == pytest.approx(known.score)
        assert alone.status in (Status.CLEAR, Status.INCONCLUSIVE)
        assert (alone.status is Status.INCONCLUSIVE) == (alone.p_value <= 0.5)
        assert (known.status is Status.FOUND) == (known.p_value <= 0.5)
        assert known.null == "20 clean reference models"
        seen.add(alone.status)
    assert Status.INCONCLUSIVE in seen


def test_the_rate_is_divided_among_the_detectors_that_fit(path: Path) -> None:
    model = load_model(path)
    names = ("margin", "final-layer", "neural-cleanse")
    detectors = [new_check(name, asked_for=False) for name in names]
    ((margin, layer, cleanse),) = judge([model], detectors, None, 0.06)
    assert cleanse.status is Status.NOT_RUN and "clean images" in cleanse.message
    assert margin.threshold == layer.threshold == pytest.approx(0.03)


def test_together_they_keep_the_rate_on_clean_models(zoo: Zoo, tmp_path: Path) -> None:
    """Two detectors calibrated on the zoo's clean models, over all models of the zoo."""
    detectors = []
    for name, detector in {"final-layer": FinalLayer(), "margin": MaximumMargin(steps=20)}.items():
        file = tmp_path / f"{name}.safetensors"
        save_detector(fit_on_zoo(detector, zoo), file)
        detectors.append(DetectorCheck.load(file))
    records = zoo.select(Split.TEST, Treatment.BACKDOORED, Treatment.CLEAN)
    results = scan_subjects(
        [zoo.path_of(record) for record in records], detectors, max_false_alarms=0.2
    )
    flagged = np.array([result.verdict is Verdict.BACKDOORED for result in results])
    backdoored = np.array([record.treatment is Treatment.BACKDOORED for record in records])
    assert flagged[backdoored].mean() > flagged[~backdoored].mean()
    for result in results:
        gravest = min(f.p_value for f in result.findings if f.p_value is not None)
        assert (result.verdict is Verdict.BACKDOORED) == (gravest <= 0.1)


def test_a_black_box_leaves_nothing_to_look_at(path: Path) -> None:
    model = load_model(path)
    box = BlackBox(lambda images: model.network(torch.from_numpy(images)).numpy(), model.card)
    detectors = [new_check(n, asked_for=False) for n in ("margin", "final-layer")]
    ((margin, layer),) = judge([box], detectors, None, 0.05)
    assert {margin.status, layer.status} == {Status.NOT_RUN}
    assert "expected gradients, got logits only" in margin.message


def test_what_nobody_asked_for_does_not_run_for_hours(path: Path, monkeypatch) -> None:
    monkeypatch.setattr("molehunt.scanning._detector_check.MOST_UNASKED", 0.0)
    model = load_model(path)
    usual = new_check("margin", asked_for=False)
    asked = new_check("margin")
    ((skipped, ran),) = judge([model], [usual, asked], None, 0.05)
    assert skipped.status is Status.NOT_RUN and "--minutes 1 has it run" in skipped.message
    assert ran.p_value is not None


def test_minutes_bound_the_work_also_of_what_was_asked_for(path: Path) -> None:
    model = load_model(path)
    checks = [new_check("margin", minutes=minutes) for minutes in (1e-9, 60.0)]
    ((refused, ran),) = judge([model], checks, None, 0.05)
    assert refused.status is Status.INCONCLUSIVE and "at most 1e-09" in refused.message
    assert ran.p_value is not None
    with pytest.raises(InvalidRequestError, match="minutes"):
        pick_checks(images=False, minutes=0)


def test_detectors_of_a_zoo_have_to_be_fitted() -> None:
    with pytest.raises(InvalidRequestError, match="fitted on a zoo first"):
        new_check("litmus")
    with pytest.raises(InvalidRequestError, match="final-layer"):
        new_check("nothing")


def test_a_calibrated_detector_is_a_file_for_later_scans(zoo: Zoo, path: Path, tmp_path) -> None:
    file = tmp_path / "final-layer.safetensors"
    assert run(["fit", str(zoo.folder), "--kind", "final-layer", "-o", str(file)]) == 0
    assert run(["scan", str(path), "-d", str(file)]) in (0, 1)


def test_nothing_to_scan_is_a_usage_error(capfd) -> None:
    assert run(["scan"]) == 4
    assert "expected model files, folders or --endpoint" in capfd.readouterr().err


def test_nan_weights_are_inconclusive_without_a_zoo_too(path: Path, tmp_path: Path) -> None:
    model = load_model(path)
    with torch.no_grad():
        model.network.classifier[-1].weight[0, 0] = torch.nan
    save_model(model, tmp_path / "nan.safetensors")
    (result,) = scan_subjects([tmp_path / "nan.safetensors"], [new_check("final-layer")])
    assert result.verdict is Verdict.INCONCLUSIVE


def test_a_network_that_flattens_with_view_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a tutorial has it; on a CPU we ask with channels last, which such code refuses."""
    (tmp_path / "tutorial_network.py").write_text(
        "from torch import nn, relu\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv, self.full = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 10)\n"
        "    def forward(self, x):\n"
        "        x = relu(self.conv(x))\n"
        "        return self.full(x.view(x.size(0), -1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    network = importlib.import_module("tutorial_network").Net()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    contract = {
        "architecture": "tutorial_network:Net",
        "input_shape": (3, 8, 8),
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    }
    (result,) = scan(
        tmp_path / "weights.safetensors", contract=contract, detectors=["margin", "final-layer"]
    )
    (margin,) = (each for each in result.findings if each.check == "margin")
    assert margin.p_value is not None, margin.message


@pytest.mark.parametrize(("least", "verdict"), [(0.6, Verdict.CLEAN), (0.9, Verdict.INCONCLUSIVE)])
def test_a_file_alone_is_clean_of_what_the_margin_is_known_to_find(
    least: float, verdict: Verdict, zoo: Zoo
) -> None:
    """It found 12 of 18 all-to-one backdoors of the reference population."""
    checks = pick_checks(images=False, against=["all-to-one"], min_power=least)
    paths = [zoo.path_of(record) for record in zoo.select(Split.TEST, Treatment.CLEAN)]
    results = scan(paths, detectors=checks)
    said = [result.verdict for result in results if result.verdict is not Verdict.BACKDOORED]
    assert said and set(said) == {verdict}


@pytest.mark.parametrize("demand", [{"against": ["warps"]}, {"min_power": 7}])
def test_a_demand_that_makes_no_sense_is_refused_at_once(demand: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(demand))):
        pick_checks(images=False, **demand)
