"""The reference population: what ships is what was measured, and what it says of one model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molehunt.backdoors import Treatment
from molehunt.detectors import (
    FinalLayer,
    MaximumMargin,
    ZooFreeDetector,
    _zoo_free,
    conformal_p_values,
)
from molehunt.detectors._reference import SHIPPED, Reference, reference_for
from molehunt.findings import Status, Verdict
from molehunt.images import load_images
from molehunt.networks import build_classifier
from molehunt.scanning import scan
from molehunt.zoo import Split, Zoo

STUDY = Path(__file__).parents[2] / "docs" / "studies" / "reference" / "results.json"


def test_what_ships_is_what_the_study_measured() -> None:
    measured = json.loads(STUDY.read_text())
    assert json.loads(SHIPPED.read_text()) == measured["scores"]
    for check in measured["checks"]:
        for classes, found in measured["groups"].items():
            shipped = reference_for(check, int(classes))
            assert shipped is not None
            for rate, told in found[check]["other networks"].items():
                assert shipped.false_alarms(float(rate)) == tuple(told["false_alarms"])
                power = {kind: tuple(count) for kind, count in told["detected"].items()}
                assert shipped.power(float(rate)) == power


def test_the_page_of_scans_says_what_strangers_files_came_to() -> None:
    found = json.loads(STUDY.with_name("strangers.json").read_text())
    assert found["clean_images"] == 0
    told = found["development"]
    page = (STUDY.parents[2] / "scanning.md").read_text()
    alone = [line for line in page.splitlines() if "*the file alone:*" in line]
    assert len(alone) == 2
    detected, of = told["detected"]
    assert f"{detected} of {of} [" in alone[0]
    images = told["by_images"]
    alarms, clean = map(
        sum, zip(*(images[name]["false_alarms"] for name in ("mnist", "cifar10")), strict=True)
    )
    assert f"{alarms} of {clean} [" in alone[0]
    assert "{} of {} [".format(*images["gtsrb"]["false_alarms"]) in alone[1]
    abstained = sum(int(line.split("|")[-2]) for line in alone)
    assert abstained == told["abstained"][0] and told["passed_as_clean"][0] == 0


def reference(clean: list[list[float]], backdoored: list[float]) -> Reference:
    own = {f"network {number}": np.array(scores) for number, scores in enumerate(clean)}
    kinds = {"all-to-one": {"network 0": np.array(backdoored)}}
    return Reference(own, kinds, ("digits",))


def test_models_are_compared_with_those_of_other_networks() -> None:
    """Beside its own kind a model of network 0 is usual, beside the others it is not."""
    found = reference([[7.0, 8.0, 9.0], [1.0] * 19], [8.5, 0.5])
    assert found.false_alarms(0.05) == (3, 22)
    assert found.power(0.05) == {"all-to-one": (1, 2)}
    assert found.p_value(8.5) == pytest.approx(2 / 23)
    assert str(found) == "22 clean models of 2 architectures (digits)"


@pytest.mark.parametrize("detector", [MaximumMargin(), FinalLayer()])
def test_a_first_model_is_compared_with_the_reference(detector: ZooFreeDetector, zoo: Zoo) -> None:
    model = zoo.models(zoo.select(Split.TEST, Treatment.CLEAN))[0]
    shipped = detector.reference_for(10)
    assert shipped is not None
    (finding,) = detector.judge([model], [0.05])
    everyone = np.concatenate([*shipped.clean.values()])
    compared = detector.compared(detector.examine(model))
    assert finding.p_value == conformal_p_values([compared], everyone)[0]
    assert finding.null == str(shipped) == detector.null_for(10)
    if finding.status is Status.CLEAR:
        assert finding.weak and "of the reference population" in finding.message


def test_other_settings_many_classes_and_a_calibration_have_no_reference(zoo: Zoo) -> None:
    assert MaximumMargin(random_state=3, device="cpu").reference_for(10) is not None
    assert MaximumMargin(steps=99).reference_for(10) is None
    assert MaximumMargin().reference_for(1000) is None
    assert MaximumMargin(steps=99).null_for(10) == MaximumMargin.own_null
    models = zoo.models(zoo.select(Split.TEST, Treatment.CLEAN))[:3]
    assert FinalLayer().calibrate(models, [0] * 3).reference_for(10) is None


def test_a_head_of_a_thousand_classes_is_judged_by_the_published_law() -> None:
    images = load_images("digits", size=12).test
    model = build_classifier("vgg", images, arguments={"width": 4, "stages": [1, 1]}, seed=0)
    found = FinalLayer().examine(model)
    other = FinalLayer()
    assert other.p_value_of(found) != found.p_value
    wide = np.zeros(1000)
    assert other.p_value_of(type(found)(0.1, 0.8, wide, None)) == 0.8


@pytest.mark.parametrize(("honest", "status"), [(True, Status.FOUND), (False, Status.INCONCLUSIVE)])
def test_an_alarm_counts_where_other_networks_met_the_rate(
    honest: bool, status: Status, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One network whose clean models all lie over the others' is a null that does not hold."""
    clean = [[0.0] * 30, [0.0 if honest else 1.0] * 30]
    shipped = reference(clean, [0.5])
    monkeypatch.setattr(_zoo_free, "reference_for", lambda _check, _classes: shipped)
    model = zoo.models(zoo.select(Split.TEST, Treatment.BACKDOORED))[0]
    (finding,) = MaximumMargin().judge([model], [0.05])
    assert finding.p_value is not None and finding.p_value <= 0.05
    assert finding.status is status


def test_what_it_finds_of_each_kind_decides_whether_nothing_found_is_clean(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = [[float(n) for n in range(40)], [float(n) for n in range(40)]]
    every = ("all-to-one", "all-to-one, blended", "all-to-all", "source-target")
    for score, verdict in ((1000.0, Verdict.CLEAN), (0.0, Verdict.INCONCLUSIVE)):
        kinds = {kind: {"network 0": np.full(10, score)} for kind in every}
        shipped = Reference(
            {f"network {n}": np.array(own) + 100 for n, own in enumerate(clean)}, kinds, ("digits",)
        )
        monkeypatch.setattr(_zoo_free, "reference_for", lambda *_, shipped=shipped: shipped)
        path = zoo.path_of(zoo.select(Split.TEST, Treatment.CLEAN)[0])
        (result,) = scan(path, detectors=[FinalLayer()])
        assert result.verdict is verdict
        if verdict is Verdict.INCONCLUSIVE:
            assert "0 of 10 source-target" in result.findings[-1].message
