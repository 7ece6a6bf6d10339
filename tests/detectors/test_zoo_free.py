"""What detectors without a zoo have in common, and the two that take no images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.exceptions import NotFittedError

from molehunt.detectors import (
    FinalLayer,
    MaximumMargin,
    PairwiseTriggers,
    ZooFreeDetector,
    evaluate,
    fit_on_zoo,
    load_detector,
    save_detector,
    shuffled_control,
)
from molehunt.detectors._final_layer import final_layer_of
from molehunt.detectors._margin import log10_p_of_margins
from molehunt.detectors._outliers import robust_z
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, load_images
from molehunt.networks import Classifier, build_classifier
from molehunt.zoo import Split, Zoo

QUICK = [FinalLayer(), MaximumMargin(starts=1, steps=4)]
quick_ones = pytest.mark.parametrize("detector", QUICK, ids=lambda item: type(item).__name__)


def classifier(classes: int = 6, name: str = "vgg", size: int = 12, channels: int = 1, **arguments):
    pixels = torch.randint(0, 256, (classes, channels, size, size), dtype=torch.uint8)
    names = tuple(map(str, range(classes)))
    images = ImageSet(pixels, torch.arange(classes), names)
    return build_classifier(name, images, arguments=arguments, seed=0).freeze()


@quick_ones
def test_a_fresh_instance_judges_by_the_reference_or_its_own_null(
    detector: ZooFreeDetector, zoo: Zoo
) -> None:
    """Settings that the reference population was not measured with leave its own null."""
    models = zoo.models(zoo.records[:3])
    found = [detector.examine(model) for model in models]
    scores = detector.decision_function(models)
    np.testing.assert_allclose(scores, [item.score for item in found])
    shipped = detector.reference_for(10)
    assert (shipped is None) == isinstance(detector, MaximumMargin)
    own = np.array([item.p_value for item in found])
    p_values = own if shipped is None else [shipped.p_value(item.score) for item in found]
    p_values = np.array(p_values)
    np.testing.assert_array_equal([detector.p_value_of(item) for item in found], p_values)
    np.testing.assert_array_equal(detector.predict(models), p_values <= 0.05)
    # Scores alone tell no p-value, and no odds, without references.
    for ask in (detector.p_values, lambda _: detector.predict_proba(models)):
        with pytest.raises(NotFittedError, match="calibrate"):
            ask(scores)
    assert detector.null == detector.own_null
    for item in found:
        assert item.statistics.shape == (10,)
        assert item.target == item.statistics.argmax()
        assert 0 <= item.p_value <= 1


@quick_ones
def test_calibration_takes_the_place_of_the_own_null(detector, zoo: Zoo) -> None:
    models, truth = zoo.labelled(Split.CALIBRATION)
    fresh = evaluate(type(detector)(**detector.get_params()), zoo)
    assert fresh.null == detector.own_null
    assert fresh.uncalibrated.false_alarm_rate == fresh.false_alarm_rate
    calibrated = type(detector)(**detector.get_params()).calibrate(models, truth)
    found = evaluate(calibrated, zoo)
    assert found.null == "20 clean reference models"
    assert found.uncalibrated == fresh.uncalibrated
    assert found.auc == fresh.auc
    examination = calibrated.examine(models[0])
    assert calibrated.p_value_of(examination) == calibrated.p_values([examination.score])[0]
    # Fitting again forgets the references.
    assert calibrated.fit(models).null == detector.own_null


def test_too_few_references_leave_an_infinite_threshold_in_the_file(
    zoo: Zoo, tmp_path: Path
) -> None:
    models = zoo.labelled(Split.CALIBRATION)[0][:5]
    save_detector(FinalLayer().calibrate(models, [0] * 5), tmp_path / "few.safetensors")
    loaded, _ = load_detector(tmp_path / "few.safetensors")
    assert loaded.threshold_ == np.inf
    assert not loaded.predict(models).any()


def test_a_zoo_without_fitting_models_is_enough(zoo: Zoo, monkeypatch) -> None:
    select = Zoo.select
    monkeypatch.setattr(
        Zoo,
        "select",
        lambda self, split=None, *t: [] if split == "fit" else select(self, split, *t),
    )
    assert evaluate(fit_on_zoo(FinalLayer(), zoo), zoo).clean == 3


def test_labels_cannot_be_shuffled_where_none_are_learned(zoo: Zoo) -> None:
    with pytest.raises(InvalidRequestError, match="shuffled labels"):
        shuffled_control(FinalLayer(), zoo)


@quick_ones
def test_two_classes_are_too_few(detector: ZooFreeDetector) -> None:
    with pytest.raises(UnsuitableSubjectError, match="classes of the model"):
        detector.examine(classifier(2))


@quick_ones
def test_another_kind_than_the_references_is_refused(detector, zoo: Zoo) -> None:
    judge = type(detector)(**detector.get_params()).fit(zoo.models(zoo.records[:1]))
    with pytest.raises(UnsuitableSubjectError, match="classes of the model"):
        judge.examine(classifier(6))


# ---- the maximum-margin test


@pytest.mark.parametrize("largest", [3.0, 3.5, 4.0])
def test_the_p_value_is_the_published_one(largest: float) -> None:
    others = np.random.default_rng(0).gamma(20, 0.1, 9)
    shape, _, scale = stats.gamma.fit(others, floc=0)
    expected = 1 - stats.gamma.cdf(largest, shape, scale=scale) ** 9
    assert 10 ** log10_p_of_margins(np.append(others, largest)) == pytest.approx(expected, rel=1e-3)


def test_tiny_p_values_stay_in_order() -> None:
    others = np.random.default_rng(0).gamma(50, 0.1, 9)
    logs = [log10_p_of_margins(np.append(others, value)) for value in np.geomspace(8, 5000, 60)]
    assert np.isfinite(logs).all()
    assert (np.diff(logs) < 0).all()
    assert logs[-1] < -1000


@pytest.mark.parametrize(("statistics", "log_p"), [([0.0] * 6, 0.0), ([1.0] * 5 + [2.0], -300.0)])
def test_classes_without_spread_give_no_nan(statistics: list[float], log_p: float) -> None:
    assert log10_p_of_margins(np.array(statistics)) == log_p


def test_a_class_that_images_push_far_is_found() -> None:
    model = classifier(8, width=4, stages=[1])
    with torch.no_grad():
        final_layer_of(model).weight[3] *= 20
    found = MaximumMargin(starts=2, steps=20).examine(model)
    assert found.target == 3
    assert found.p_value < 0.01


def test_more_steps_find_larger_margins(zoo: Zoo) -> None:
    model = zoo.models(zoo.records)[0]
    few, many = (MaximumMargin(steps=steps).examine(model).statistics for steps in (2, 40))
    assert (many > few).all()


# ---- the final layer


def test_a_row_that_points_away_is_found() -> None:
    model = classifier(8, width=4, stages=[1])
    assert FinalLayer().examine(model).p_value > 0.05
    with torch.no_grad():
        rows = final_layer_of(model).weight
        rows[5] = 0.3 - rows.sum(0)
    found = FinalLayer().examine(model)
    assert found.target == 5
    assert found.p_value < 0.01


@pytest.mark.parametrize(
    ("name", "size", "channels", "kind"),
    [
        ("vgg", 12, 1, torch.nn.Linear),
        ("resnet", 12, 1, torch.nn.Linear),
        ("torchvision:squeezenet1_1", 32, 3, torch.nn.Conv2d),
    ],
)
def test_the_final_layer_is_found(name: str, size: int, channels: int, kind: type) -> None:
    model = classifier(6, name, size, channels)
    layer = final_layer_of(model)
    assert isinstance(layer, kind)
    assert layer.weight.shape[0] == 6
    assert np.isfinite(FinalLayer().examine(model).score)


def test_a_model_without_a_final_layer_is_refused() -> None:
    card = classifier(6).card
    model = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 7)), card)
    with pytest.raises(UnsuitableSubjectError, match="final layer of the model"):
        FinalLayer().decision_function([model])


def test_equal_rows_are_no_anomaly() -> None:
    model = classifier(6)
    with torch.no_grad():
        final_layer_of(model).weight.fill_(0.1)
    assert FinalLayer().examine(model).p_value == pytest.approx(1, abs=0.05)


# ---- what must raise


@pytest.mark.parametrize(
    "settings", [{"starts": 0}, {"steps": 0}, {"batch_size": 0}, {"lr": 0.0}], ids=str
)
def test_impossible_settings_are_refused(zoo: Zoo, settings: dict) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(settings))):
        MaximumMargin(**settings).examine(zoo.models(zoo.records)[0])


def test_answers_that_are_not_finite_are_refused() -> None:
    model = classifier(6)
    with torch.no_grad():
        final_layer_of(model).bias.fill_(3e38)
        final_layer_of(model).weight.fill_(3e38)
    with pytest.raises(UnsuitableSubjectError, match="answers of the model"):
        MaximumMargin(steps=1, starts=1).examine(model)


def test_a_detector_without_a_null_must_be_calibrated(zoo: Zoo) -> None:
    detector = PairwiseTriggers(images=load_images("digits", size=12).test, size=4, steps=1)
    models, truth = zoo.labelled(Split.CALIBRATION)
    assert detector.null is None
    with pytest.raises(NotFittedError, match="no null of its own"):
        detector.predict(models[:1])
    with pytest.raises(NotFittedError, match="no null of its own"):
        evaluate(detector, zoo)
    detector.calibrate(models, truth)
    assert evaluate(detector, zoo).uncalibrated is None


def test_distances_from_the_median_are_those_that_old_files_were_calibrated_by() -> None:
    """Values of before robust z scores were one function."""
    values = np.array([0.3, -1.2, 0.9, 4.0, 0.1])
    expected = [0.0, -1.6862268986914877, 0.6744907594765952, 4.159359683439003, -0.224830253158865]
    np.testing.assert_array_equal(robust_z(values), expected)
    assert robust_z(np.ones(6)).tolist() == [0.0] * 6
    np.testing.assert_allclose(robust_z(np.array([1.0, 1, 1, 1, 9])), [0, 0, 0, 0, 3.9894678])
