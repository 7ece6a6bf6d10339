"""A first scan with clean images: clean twins decide, and the scan says what that is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from molehunt.detectors import BACKDOOR_KINDS, TwinComparison
from molehunt.errors import InvalidRequestError
from molehunt.findings import Status, Verdict
from molehunt.images import TrainTest
from molehunt.networks import load_model
from molehunt.scanning import DetectorCheck, new_check
from molehunt.scanning._check import judge
from molehunt.zoo import Zoo


class Known(TwinComparison):
    """The comparison with its answer given: what a scan makes of it is tested here."""

    p = 0.05
    reason = ""

    def compare(self, model, progress=None):  # type: ignore[no-untyped-def]
        import numpy as np  # noqa: PLC0415

        from molehunt.detectors._twin_readings import TwinStatistic  # noqa: PLC0415
        from molehunt.detectors._twin_test import TwinTest  # noqa: PLC0415
        from molehunt.detectors._twins import TwinGap  # noqa: PLC0415

        gap = TwinGap(
            images=100, accuracy=0.9, twin_accuracy=0.9, agreement=0.9, margin=1, twin_margin=1
        )
        one = TwinStatistic("smallest mask", "all-to-one", 4.0, np.ones(19), 2.0, target=3)
        return TwinTest(self.p, self.reason, (one,), one if self.p <= 0.05 else None, gap)


def findings(zoo: Zoo, digits: TrainTest, others: bool = True, **made: object):  # type: ignore[no-untyped-def]
    twin = Known()
    for name in ("p", "reason"):
        if name in made:
            setattr(Known, name, made.pop(name))
    try:
        twin = Known(**made)
        detectors = [DetectorCheck("twins", twin, asked_for=False)]
        if others:
            names = ("margin", "final-layer")
            detectors += [new_check(name, asked_for=False) for name in names]
        model = load_model(zoo.path_of(zoo.records[0]))
        (found,) = judge([model], detectors, digits.test, 0.05)
        return found
    finally:
        Known.p, Known.reason = 0.05, ""


def test_twins_decide_alone_and_at_the_whole_rate(zoo: Zoo, digits: TrainTest) -> None:
    twins, *others = findings(zoo, digits)
    assert twins.status is Status.FOUND and twins.threshold == 0.05 and twins.target == 3
    assert "smallest mask, as of all-to-one backdoors" in twins.message
    assert {other.status for other in others} == {Status.NOT_RUN}
    assert all("twins decides" in other.message for other in others)


def test_clean_needs_a_measured_power(zoo: Zoo, digits: TrainTest) -> None:
    twins, *_ = findings(zoo, digits, p=1.0)
    assert twins.status is Status.CLEAR and twins.verdict is Verdict.CLEAN
    twins, *_ = findings(zoo, digits, p=1.0, min_power=0.95)
    assert twins.status is Status.CLEAR and twins.verdict is None
    assert "8 of 9 all-to-one, blended" in twins.message
    twins, *_ = findings(zoo, digits, p=1.0, min_power=0.95, against=["all-to-all"])
    assert twins.status is Status.CLEAR and twins.verdict is Verdict.CLEAN


@pytest.mark.parametrize("classes", [13, 43, 1000])
def test_many_classes_are_never_clean_by_twins(classes: int) -> None:
    assert TwinComparison().doubt_of_clean(classes)


def test_few_images_are_never_enough_for_clean(zoo: Zoo, digits: TrainTest) -> None:
    few = digits.test.take(slice(0, 200))
    assert "200" in TwinComparison(images=few).doubt_of_clean(10)


def test_an_abstention_is_inconclusive_and_says_why(zoo: Zoo, digits: TrainTest) -> None:
    twins, *_ = findings(zoo, digits, reason="its twins are 0.30 less accurate")
    assert twins.status is Status.INCONCLUSIVE and "less accurate" in twins.message


def test_bad_settings_are_refused(digits: TrainTest) -> None:
    for settings in ({"twins": 0}, {"min_power": 2}, {"against": ["warps"]}):
        with pytest.raises(InvalidRequestError):
            TwinComparison(images=digits.test, **settings)._check_settings()
    assert len(BACKDOOR_KINDS) == 4


def test_where_twins_do_not_fit_the_others_judge(zoo: Zoo, digits: TrainTest) -> None:
    model = load_model(zoo.path_of(zoo.records[0]))
    names = ("twins", "margin")
    detectors = [new_check(name, asked_for=False) for name in names]
    ((twins, margin),) = judge([model], detectors, None, 0.05)
    assert twins.status is Status.NOT_RUN and margin.p_value is not None


def test_the_real_comparison_runs_in_a_scan(
    zoo: Zoo, digits: TrainTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few, short lessons: from the command line to a p-value, and again from what was kept."""
    from molehunt.detectors import _twin_test  # noqa: PLC0415
    from molehunt.detectors._distill import Distillation  # noqa: PLC0415

    monkeypatch.setattr(
        _twin_test, "Distillation", lambda: replace(Distillation(), steps=3, pool=100)
    )
    steps: list[tuple[int, int]] = []
    fitted = new_check("twins", twins=2, cache=tmp_path)
    model = load_model(zoo.path_of(zoo.records[0]))
    first = next(judge([model], [fitted], digits.test, 0.5, lambda *at: steps.append(at)))[0]
    assert steps and all(done <= total for done, total in steps)
    kept = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    second = next(judge([model], [fitted], digits.test, 0.5))[0]
    assert kept and (first.p_value, first.status) == (second.p_value, second.status)
