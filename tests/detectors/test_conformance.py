"""One suite over every detector: scikit-learn's conventions and Molehunt's own."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from molehunt.detectors import (
    DETECTORS,
    Detector,
    MetaClassifier,
    evaluate,
    fit_on_zoo,
    load_detector,
    name_of,
    new_detector,
    save_detector,
)
from molehunt.errors import InvalidRequestError, UnreadableFileError, UnsuitableSubjectError
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Access, BlackBox, Classifier, build_classifier
from molehunt.zoo import Split, Zoo

# Settings that keep the suite short; the rest are the defaults.
QUICK = {
    "litmus": {"n_patterns": 3, "epochs": 3},
    "noise": {"n_patterns": 3},
    "statistics": {},
    "final-layer": {},
    "margin": {"starts": 1, "steps": 4},
    "neural-cleanse": {"images_per_class": 2, "images_per_step": 4, "steps": 10},
    "pairwise": {"images_per_class": 2, "images_per_step": 2, "steps": 2, "size": 4},
}
CLEAN = load_images("digits", size=12).test
ZOO_KINDS = [name for name, kind in DETECTORS.items() if issubclass(kind, MetaClassifier)]
every_detector = pytest.mark.parametrize("name", DETECTORS)
every_zoo_detector = pytest.mark.parametrize("name", ZOO_KINDS)


def quick(name: str) -> Detector:
    images = {"images": CLEAN} if DETECTORS[name].needs_images else {}
    return new_detector(name, **QUICK.get(name, {}), **images)


def settings_of(detector: Detector) -> dict:
    """Settings that can be compared; clean images are told by what they are."""
    return {
        key: id(value) if isinstance(value, ImageSet) else value
        for key, value in detector.get_params().items()
    }


def asked_only(model: Classifier) -> BlackBox:
    """The same model with everything but its answers hidden."""

    def answer(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.network(torch.from_numpy(images)).numpy()

    return BlackBox(answer, model.card)


@pytest.fixture(scope="module")
def fitted(zoo: Zoo) -> dict[str, Detector]:
    return {name: fit_on_zoo(quick(name), zoo) for name in DETECTORS}


@every_detector
def test_settings_are_keywords_and_only_stored(name: str) -> None:
    parameters = inspect.signature(DETECTORS[name].__init__).parameters
    settings = {key: value for key, value in parameters.items() if key != "self"}
    assert all(p.kind is p.KEYWORD_ONLY for p in settings.values())
    marks = {key: object() for key in settings}
    made = DETECTORS[name](**marks)
    assert vars(made) == marks
    assert made.get_params() == marks


@every_detector
def test_clone_and_repr(name: str, fitted: dict[str, Detector]) -> None:
    copy = clone(fitted[name])
    assert {*copy.get_params()} == {*fitted[name].get_params()}
    assert not hasattr(copy, copy.learns)
    assert not any(attribute.endswith("_") for attribute in vars(copy))
    assert repr(copy).startswith(type(copy).__name__ + "(")


@every_detector
def test_it_says_what_it_needs_and_has_a_docstring(name: str) -> None:
    kind = DETECTORS[name]
    assert kind.needs
    assert kind.__doc__
    for setting in quick(name).get_params():
        assert setting in kind.__doc__


@every_detector
def test_fit_returns_self_and_learned_names_end_in_an_underscore(name: str, zoo: Zoo) -> None:
    detector = quick(name)
    models, truth = zoo.labelled(Split.FIT)
    before = set(vars(detector))
    assert detector.fit(models, truth) is detector
    learned = set(vars(detector)) - before
    assert {"threshold_", "input_shape_", "num_classes_"} <= learned
    assert all(attribute.endswith("_") for attribute in learned)


@every_detector
def test_the_same_seed_gives_the_same_detector(name: str, zoo: Zoo) -> None:
    models, truth = zoo.labelled(Split.FIT)
    tests = zoo.labelled(Split.TEST)[0][:2]
    first, second = (quick(name).fit(models, truth).decision_function(tests) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@every_detector
def test_fitting_leaves_the_models_and_the_global_generator_alone(name: str, zoo: Zoo) -> None:
    lazy, truth = zoo.labelled(Split.FIT)
    models = list(lazy)
    states = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    before = torch.get_rng_state()
    quick(name).fit(models, truth).decision_function(models[:2])
    assert torch.equal(torch.get_rng_state(), before)
    for model, state in zip(models, states, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@every_detector
def test_scores_probabilities_and_predictions_agree(name, fitted, zoo: Zoo) -> None:
    models, truth = zoo.labelled(Split.TEST)
    detector = fitted[name]
    scores = detector.decision_function(models)
    probabilities = detector.predict_proba(models)
    assert scores.shape == (len(truth),)
    assert probabilities.shape == (len(truth), 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (np.argsort(scores) == np.argsort(probabilities[:, 1], kind="stable")).all()
    np.testing.assert_array_equal(detector.predict(models), scores > detector.threshold_)


@every_detector
def test_a_score_does_not_depend_on_the_company(name, fitted, zoo: Zoo) -> None:
    models, _ = zoo.labelled(Split.TEST)
    together = fitted[name].decision_function(models)
    alone = [fitted[name].decision_function([model])[0] for model in models]
    reverse = fitted[name].decision_function(list(models)[::-1])[::-1]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(together, reverse, rtol=1e-4, atol=1e-4)


@every_detector
def test_the_calibrated_threshold_is_the_p_value(name, fitted, zoo: Zoo) -> None:
    detector = fitted[name]
    scores = np.concatenate(
        [detector.calibration_scores_, detector.decision_function(zoo.labelled(Split.TEST)[0])]
    )
    p_values = detector.p_values(scores)
    assert ((p_values > 0) & (p_values <= 1)).all()
    np.testing.assert_array_equal(p_values <= 0.05, scores > detector.threshold_)


@every_detector
def test_a_detector_file_gives_the_same_scores(name, fitted, zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    found = evaluate(fitted[name], zoo)
    save_detector(fitted[name], path, zoo=zoo.summary(), evaluation=found)
    images = fitted[name].get_params().get("images")
    loaded, card = load_detector(path, images=images)
    assert name_of(loaded) == name == card.detector
    assert card.evaluation == found
    assert settings_of(loaded) == settings_of(fitted[name])
    assert loaded.null == fitted[name].null
    models, _ = zoo.labelled(Split.TEST)
    np.testing.assert_array_equal(
        loaded.decision_function(models), fitted[name].decision_function(models)
    )


@every_zoo_detector
def test_it_must_be_fitted_first(name: str, zoo: Zoo) -> None:
    models, _ = zoo.labelled(Split.TEST)
    with pytest.raises(NotFittedError):
        quick(name).decision_function(models)


@every_zoo_detector
def test_what_is_typical_of_the_zoo_is_known(name, fitted, zoo: Zoo) -> None:
    models, _ = zoo.labelled(Split.CALIBRATION)
    assert fitted[name].is_typical(fitted[name].transform(models)).all()


@every_detector
def test_a_file_without_anything_learned_is_refused(name: str, tmp_path: Path) -> None:
    save_detector(quick(name), tmp_path / "unfitted.safetensors")
    with pytest.raises(UnreadableFileError, match="not fitted"):
        load_detector(tmp_path / "unfitted.safetensors")


@every_detector
@pytest.mark.parametrize("y", [[0], [0, 1, 2] * 3])
def test_labels_that_do_not_fit_are_refused(name: str, zoo: Zoo, y: list[int]) -> None:
    models, _ = zoo.labelled(Split.FIT)
    with pytest.raises(InvalidRequestError, match="y: expected"):
        quick(name).fit(models, y)


@every_zoo_detector
@pytest.mark.parametrize("y", [[0] * 8, [1] * 8])
def test_labels_of_one_kind_are_refused(name: str, zoo: Zoo, y: list[int]) -> None:
    models, _ = zoo.labelled(Split.FIT)
    with pytest.raises(InvalidRequestError, match="y: expected"):
        quick(name).fit(models, y)


@every_detector
@pytest.mark.parametrize(
    ("y", "rate", "message"),
    [([1] * 4, 0.05, "clean models"), ([0], 0.05, "clean models"), ([0] * 4, 0.0, "false_alarms")],
)
def test_calibration_that_means_nothing_is_refused(name, fitted, zoo, y, rate, message) -> None:
    models = zoo.labelled(Split.FIT)[0][:4]
    with pytest.raises(InvalidRequestError, match=message):
        fitted[name].calibrate(models, y, max_false_alarms=rate)


@every_detector
def test_it_says_what_its_p_values_are_against(name, fitted, zoo: Zoo) -> None:
    assert fitted[name].null == "20 clean reference models"
    assert evaluate(fitted[name], zoo).null == "20 clean reference models"


@every_detector
def test_a_model_that_only_answers_is_judged_or_refused(name, fitted, zoo: Zoo) -> None:
    model = zoo.models(zoo.records)[0]
    hidden = asked_only(model)
    if fitted[name].needs & {Access.GRADIENTS, Access.WEIGHTS}:
        with pytest.raises(UnsuitableSubjectError, match="access to the model: expected"):
            fitted[name].decision_function([hidden])
    else:
        scores = fitted[name].decision_function([hidden, model])
        np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4, atol=1e-4)


@every_detector
def test_other_shapes_classes_and_nan_are_refused(name, fitted, digits: TrainTest) -> None:
    arguments = {"width": 4, "stages": [1, 1]}
    larger = build_classifier("vgg", digits.train.resized(16), arguments=arguments)
    with pytest.raises(UnsuitableSubjectError, match="input shape"):
        fitted[name].decision_function([larger.eval()])
    fewer = digits.train.take(digits.train.labels < 5)
    fewer = type(fewer)(fewer.images, fewer.labels, fewer.class_names[:5])
    with pytest.raises(UnsuitableSubjectError, match="classes"):
        fitted[name].decision_function([build_classifier("vgg", fewer, arguments=arguments).eval()])
    broken = build_classifier("vgg", digits.train, arguments=arguments).eval()
    with torch.no_grad():
        broken.network.features[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(UnsuitableSubjectError, match="finite"):
        fitted[name].decision_function([broken])


@every_detector
def test_unknown_settings_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="colour"):
        new_detector(name, colour="red")
