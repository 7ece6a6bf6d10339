from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from molehunt.detectors import (
    Detector,
    FinalLayer,
    LitmusPatterns,
    WeightStatistics,
    auc_with_interval,
    conformal_p_values,
    conformal_threshold,
    count_verdicts,
    evaluate,
    fit_on_zoo,
    load_detector,
    models_needed,
    save_detector,
    shuffled_control,
    shuffled_labels,
)
from molehunt.errors import InvalidRequestError
from molehunt.findings import Finding, Status
from molehunt.rates import rate_interval
from molehunt.scanning import DetectorCheck, scan_subjects
from molehunt.zoo import Split, Zoo

scores = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=60)


def test_p_values_by_hand() -> None:
    assert conformal_p_values([0, 1, 2, 3, 9], [1, 2, 3]).tolist() == [1, 1, 0.75, 0.5, 0.25]


@given(clean=scores, subjects=scores, rate=st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5]))
def test_threshold_and_p_value_say_the_same(clean, subjects, rate) -> None:
    flagged = conformal_p_values(subjects, clean) <= rate
    assert (flagged == (np.array(subjects) > conformal_threshold(clean, rate))).all()


@given(rate=st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5]))
def test_so_many_models_are_needed(rate: float) -> None:
    needed = models_needed(rate)
    assert math.isfinite(conformal_threshold(np.zeros(needed), rate))
    assert needed == 1 or math.isinf(conformal_threshold(np.zeros(needed - 1), rate))


def test_false_alarms_stay_under_the_stated_rate() -> None:
    rng = np.random.default_rng(0)
    alarms = [
        float(conformal_p_values(rng.normal(size=1), rng.normal(size=39))[0]) <= 0.05
        for _ in range(8000)
    ]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.01)


@settings(deadline=None)
@given(count=st.integers(1, 200), data=st.data())
def test_the_interval_of_a_rate_is_that_of_scipy(count, data) -> None:
    hits = data.draw(st.integers(0, count))
    expected = binomtest(hits, count).proportion_ci(0.95, "exact")
    assert rate_interval(hits, count) == pytest.approx(tuple(expected), abs=1e-9)


@settings(deadline=None)
@given(negatives=scores, positives=scores)
def test_auc_is_that_of_scikit_learn(negatives, positives) -> None:
    truth = [0] * len(negatives) + [1] * len(positives)
    found = auc_with_interval(negatives, positives)
    assert found.auc == pytest.approx(roc_auc_score(truth, negatives + positives))
    assert 0 <= found.interval[0] <= found.interval[1] <= 1


def test_the_interval_narrows_with_the_number_of_models() -> None:
    rng = np.random.default_rng(0)

    def width(count: int) -> float:
        found = auc_with_interval(rng.normal(size=count), rng.normal(size=count) + 1)
        return found.interval[1] - found.interval[0]

    assert width(400) < 0.5 * width(30)


def test_shuffled_labels_agree_with_the_truth_on_half() -> None:
    truth = np.array([0, 1] * 20)
    rng = np.random.default_rng(0)
    shuffles = [shuffled_labels(truth, rng) for _ in range(20)]
    assert all((shuffle == truth).mean() == 0.5 for shuffle in shuffles)
    assert len({tuple(shuffle) for shuffle in shuffles}) == 20


def test_evaluation_counts_and_rates(zoo: Zoo) -> None:
    detector = fit_on_zoo(LitmusPatterns(n_patterns=3, epochs=3), zoo)
    found = evaluate(detector, zoo)
    assert (found.clean, found.backdoored, found.placebos) == (3, 3, 2)
    assert found.placebo is not None
    models, truth = zoo.labelled(Split.TEST)
    flagged = detector.predict(models)
    assert found.accuracy == pytest.approx((flagged == truth).mean())
    assert found.verdicts is not None
    low, high = found.verdicts.clean.interval
    assert low <= found.verdicts.clean.detected / 3 <= high
    assert high > 0.5  # three clean models tell little
    assert found.detection_rate == pytest.approx(flagged[np.array(truth) == 1].mean())


@pytest.mark.parametrize("detector", [WeightStatistics(), FinalLayer()])
def test_verdicts_are_counted_as_a_scan_gives_them(
    zoo: Zoo, detector: Detector, tmp_path: Path
) -> None:
    """Of real files: what abstains there abstains in the counts, whatever its score."""
    fitted = fit_on_zoo(detector, zoo)
    evaluation = evaluate(fitted, zoo, max_false_alarms=0.2)
    found = evaluation.verdicts
    file = tmp_path / "it.safetensors"
    save_detector(fitted, file, zoo=zoo.summary(), evaluation=evaluation)
    fitted, card = load_detector(file)
    records = {kind: zoo.select(Split.TEST, kind) for kind in ("clean", "backdoored")}
    for kind, counts in (("clean", found.clean), ("backdoored", found.backdoored)):
        results = scan_subjects(
            [zoo.path_of(record) for record in records[kind]],
            [DetectorCheck("it", fitted, card)],
            max_false_alarms=0.2,
        )
        assert counts == count_verdicts(result.verdict for result in results)
        assert counts.detected + counts.abstained + counts.passed == counts.of == 3
    few = evaluate(fitted, zoo, max_false_alarms=0.01).verdicts
    assert few.backdoored.abstained == few.backdoored.of


def test_evaluating_on_the_fitting_models_is_refused(zoo: Zoo) -> None:
    detector = fit_on_zoo(WeightStatistics(), zoo)
    with pytest.raises(InvalidRequestError, match="calibration or test"):
        evaluate(detector, zoo, split=Split.FIT)


def test_the_shuffled_control_knows_nothing(zoo: Zoo) -> None:
    found = shuffled_control(WeightStatistics(), zoo, repeats=10)
    assert found.interval[0] <= 0.5 <= found.interval[1]


def test_too_few_calibration_models_never_give_a_verdict(zoo: Zoo) -> None:
    detector = fit_on_zoo(WeightStatistics(), zoo, max_false_alarms=0.01)
    assert math.isinf(detector.threshold_)
    assert not detector.predict(zoo.labelled(Split.TEST)[0]).any()


def test_an_alarm_far_from_the_zoo_stands_only_as_far_as_the_zoo_is_wide(zoo: Zoo) -> None:
    """Clean verdicts do not stand there at all."""
    detector = fit_on_zoo(WeightStatistics(), zoo)
    known, unknown = (zoo.select(split, "clean", "backdoored") for split in (Split.FIT, Split.TEST))
    models = zoo.models([*known, *unknown])

    def judge() -> list[Finding]:
        return list(detector.judge(models, [0.2] * len(models)))

    before = judge()
    detector.typical_distance_ = -1.0  # nothing is typical
    familiar = detector.is_familiar(detector.transform(models))
    assert familiar[: len(known)].all() and not familiar.all()
    seen = set()
    for old, new, near in zip(before, judge(), familiar, strict=True):
        stands = near and old.p_value <= 0.2
        assert new.status is (Status.FOUND if stands else Status.INCONCLUSIVE)
        assert ("farther" in new.message) == stands
        seen.add((bool(near), old.p_value <= 0.2))
    assert {(True, True), (True, False), (False, True)} <= seen
