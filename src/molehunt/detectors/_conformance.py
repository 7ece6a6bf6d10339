"""One suite over every detector, also one that somebody else wrote.

It asks for scikit-learn's conventions and Molehunt's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from molehunt.detectors._base import Detector
from molehunt.detectors._conformance_bench import Bench, expect, expect_refusal, tiny_zoo
from molehunt.detectors._detector_file import load_detector, save_detector
from molehunt.detectors._evaluation import evaluate
from molehunt.detectors._meta_classifier import MetaClassifier
from molehunt.detectors._registry import name_of, new_detector
from molehunt.errors import InvalidRequestError, UnreadableFileError, UnsuitableSubjectError
from molehunt.images import ImageSet
from molehunt.networks import Access, BlackBox, Classifier, build_classifier
from molehunt.zoo import Split, Zoo

Check = Callable[[Bench], None]


@dataclass(frozen=True)
class ConformanceCheck:
    """One thing that is asked of a detector: call it.

    Parameters
    ----------
    name : str
        What is asked, in words.
    kind : type
        The detector's class.
    """

    name: str
    kind: type[Detector]
    _check: Check

    def __str__(self) -> str:
        return f"{self.kind.__name__}: {self.name}"

    def __call__(self, zoo: Zoo | None = None) -> None:
        """Try the detector on models of `zoo`, or of a tiny one that is built once a process.

        Raises
        ------
        AssertionError
            If it does otherwise.
        """
        self._check(Bench(self.kind, zoo or tiny_zoo()))


_CHECKS: list[tuple[type, Check]] = []


def conformance_checks(kind: type[Detector]) -> list[ConformanceCheck]:
    """Return what is asked of a detector of `kind`, as checks to be called.

    Its class must be known by name (`register_detector`) and is tried with its settings `tiny`.

    Examples
    --------
    In a test file of your own::

        @pytest.mark.parametrize("check", conformance_checks(MyDetector), ids=str)
        def test_my_detector_conforms(check):
            check()
    """
    return [
        ConformanceCheck(check.__name__.removeprefix("_").replace("_", " "), kind, check)
        for of, check in _CHECKS
        if issubclass(kind, of)
    ]


def _asked_of(kind: type) -> Callable[[Check], Check]:
    """Enter a function among the checks; its name says what is asked."""

    def enter(check: Check) -> Check:
        _CHECKS.append((kind, check))
        return check

    return enter


@_asked_of(Detector)
def _settings_are_keywords_and_only_stored(bench: Bench) -> None:
    parameters = inspect.signature(bench.kind.__init__).parameters
    settings = {key: value for key, value in parameters.items() if key != "self"}
    expect(all(p.kind is p.KEYWORD_ONLY for p in settings.values()), f"keywords: {[*settings]}")
    marks = {key: object() for key in settings}
    made = bench.kind(**marks)
    expect(vars(made) == marks, f"__init__ stores its settings and nothing else: {vars(made)}")
    expect(made.get_params() == marks, "get_params gives the settings")


@_asked_of(Detector)
def _clone_and_repr(bench: Bench) -> None:
    copy = clone(bench.fitted)
    expect({*copy.get_params()} == {*bench.fitted.get_params()}, "a clone has the same settings")
    learned = [name for name in vars(copy) if name.endswith("_")]
    expect(not learned and not hasattr(copy, copy.learns), f"a clone knows nothing: {learned}")
    expect(repr(copy).startswith(type(copy).__name__ + "("), f"its repr names it: {copy!r}")


@_asked_of(Detector)
def _it_says_what_it_needs_and_has_a_docstring(bench: Bench) -> None:
    expect(bench.kind.needs, "needs: what it must have of a model")
    text = bench.kind.__doc__ or ""
    expect(text, "a docstring")
    unsaid = [setting for setting in bench.make().get_params() if setting not in text]
    expect(not unsaid, f"the docstring says nothing of {unsaid}")


@_asked_of(Detector)
def _fit_returns_self_and_learned_names_end_in_an_underscore(bench: Bench) -> None:
    detector = bench.make()
    before = set(vars(detector))
    expect(detector.fit(*bench.part(Split.FIT)) is detector, "fit returns self")
    learned = set(vars(detector)) - before
    expect(learned >= Detector.learned, f"learned {sorted(learned)}")
    expect(all(name.endswith("_") for name in learned), f"learned {sorted(learned)}")


@_asked_of(Detector)
def _the_same_seed_gives_the_same_detector(bench: Bench) -> None:
    models, truth = bench.part(Split.FIT)
    tests = bench.part(Split.TEST)[0][:2]
    first, second = (bench.make().fit(models, truth).decision_function(tests) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@_asked_of(Detector)
def _fitting_leaves_models_and_the_global_generator_alone(bench: Bench) -> None:
    models, truth = bench.part(Split.FIT)
    states = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    before = torch.get_rng_state()
    bench.make().fit(models, truth).decision_function(models[:2])
    expect(torch.equal(torch.get_rng_state(), before), "torch's global generator is left alone")
    for model, state in zip(models, states, strict=True):
        same = all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        expect(same, "models are left as they were")


@_asked_of(Detector)
def _scores_probabilities_and_predictions_agree(bench: Bench) -> None:
    models, truth = bench.part(Split.TEST)
    scores = bench.fitted.decision_function(models)
    probabilities = bench.fitted.predict_proba(models)
    expect(scores.shape == (len(truth),), f"scores [N], got {scores.shape}")
    expect(probabilities.shape == (len(truth), 2), f"[N, 2], got {probabilities.shape}")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    order = np.argsort(probabilities[:, 1], kind="stable")
    np.testing.assert_array_equal(np.argsort(scores, kind="stable"), order)
    np.testing.assert_array_equal(bench.fitted.predict(models), scores > bench.fitted.threshold_)


@_asked_of(Detector)
def _a_score_does_not_depend_on_the_company(bench: Bench) -> None:
    models, _ = bench.part(Split.TEST)
    together = bench.fitted.decision_function(models)
    alone = [bench.fitted.decision_function([model])[0] for model in models]
    reverse = bench.fitted.decision_function(models[::-1])[::-1]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(together, reverse, rtol=1e-4, atol=1e-4)


@_asked_of(Detector)
def _the_calibrated_threshold_is_the_p_value(bench: Bench) -> None:
    detector = bench.fitted
    tests = detector.decision_function(bench.part(Split.TEST)[0])
    scores = np.concatenate([detector.calibration_scores_, tests])
    p_values = detector.p_values(scores)
    expect(((p_values > 0) & (p_values <= 1)).all(), f"p-values in (0, 1], got {p_values}")
    np.testing.assert_array_equal(p_values <= 0.05, scores > detector.threshold_)


@_asked_of(Detector)
def _it_judges_each_model_in_order(bench: Bench) -> None:
    models, _ = bench.part(Split.TEST)
    findings = list(bench.fitted.judge(models, [0.05] * len(models), "mine"))
    expect({finding.check for finding in findings} == {"mine"}, "findings bear the given name")
    scores = np.array([finding.score for finding in findings], dtype=float)
    np.testing.assert_allclose(scores, bench.fitted.decision_function(models), rtol=1e-4, atol=1e-4)


@_asked_of(Detector)
def _a_detector_file_gives_the_same_scores(bench: Bench) -> None:
    found = evaluate(bench.fitted, bench.zoo)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "detector.safetensors"
        save_detector(bench.fitted, path, zoo=bench.zoo.summary(), evaluation=found)
        loaded, card = load_detector(path, images=bench.fitted.get_params().get("images"))
    expect(name_of(loaded) == name_of(bench.fitted) == card.detector, "the file holds its name")
    expect(card.evaluation == found, "the file holds the evaluation")
    expect(_settings_of(loaded) == _settings_of(bench.fitted), "the file holds the settings")
    expect(loaded.null == bench.fitted.null, f"the null is {bench.fitted.null}, got {loaded.null}")
    models, _ = bench.part(Split.TEST)
    np.testing.assert_array_equal(
        loaded.decision_function(models), bench.fitted.decision_function(models)
    )


@_asked_of(MetaClassifier)
def _it_must_be_fitted_first(bench: Bench) -> None:
    with expect_refusal(NotFittedError, "call fit first"):
        bench.make().decision_function(bench.part(Split.TEST)[0])


@_asked_of(MetaClassifier)
def _what_is_typical_of_the_zoo_is_known(bench: Bench) -> None:
    models, _ = bench.part(Split.CALIBRATION)
    assert isinstance(bench.fitted, MetaClassifier)
    typical = bench.fitted.is_typical(bench.fitted.transform(models))
    expect(typical.all(), "calibration models are typical")


@_asked_of(Detector)
def _a_file_without_anything_learned_is_refused(bench: Bench) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "unfitted.safetensors"
        save_detector(bench.make(), path)
        with expect_refusal(UnreadableFileError, "not fitted"):
            load_detector(path)


@_asked_of(Detector)
def _labels_that_do_not_fit_are_refused(bench: Bench) -> None:
    models, _ = bench.part(Split.FIT)
    for y in ([0], [0, 1, 2] * 3):
        with expect_refusal(InvalidRequestError, "y: expected"):
            bench.make().fit(models, y)


@_asked_of(MetaClassifier)
def _labels_of_one_kind_are_refused(bench: Bench) -> None:
    models, _ = bench.part(Split.FIT)
    for y in ([0] * len(models), [1] * len(models)):
        with expect_refusal(InvalidRequestError, "y: expected"):
            bench.make().fit(models, y)


@_asked_of(Detector)
def _calibration_that_means_nothing_is_refused(bench: Bench) -> None:
    models = bench.part(Split.FIT)[0][:4]
    for y, rate, message in (
        ([1] * 4, 0.05, "clean models"),
        ([0], 0.05, "clean models"),
        ([0] * 4, 0.0, "false_alarms"),
    ):
        with expect_refusal(InvalidRequestError, message):
            bench.fitted.calibrate(models, y, max_false_alarms=rate)


@_asked_of(Detector)
def _it_says_what_its_p_values_are_against(bench: Bench) -> None:
    clean = int((bench.part(Split.CALIBRATION)[1] == 0).sum())
    said = f"{clean} clean reference models"
    expect(bench.fitted.null == said, f"null: expected {said}, got {bench.fitted.null}")
    expect(evaluate(bench.fitted, bench.zoo).null == said, "an evaluation says so too")


@_asked_of(Detector)
def _a_model_that_only_answers_is_judged_or_refused(bench: Bench) -> None:
    model = bench.part(Split.TEST)[0][0]

    def answer(images: NDArray[np.float32]) -> NDArray[Any]:
        with torch.no_grad():
            logits: torch.Tensor = model.network(torch.from_numpy(images))
        return logits.numpy()

    hidden = BlackBox(answer, model.card)
    if bench.kind.needs & {Access.GRADIENTS, Access.WEIGHTS}:
        with expect_refusal(UnsuitableSubjectError, "access to the model: expected"):
            bench.fitted.decision_function([hidden])
    else:
        scores = bench.fitted.decision_function([hidden, model])
        np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4, atol=1e-4)


@_asked_of(Detector)
def _models_of_other_shapes_and_classes_or_nan_are_refused(bench: Bench) -> None:
    network, images = bench.zoo.plan.network, bench.images

    def build(images: ImageSet) -> Classifier:
        return build_classifier(network.name, images, arguments=network.arguments).eval()

    with expect_refusal(UnsuitableSubjectError, "input shape"):
        bench.fitted.decision_function([build(images.resized(images.shape[1] + 4))])
    fewer = images.take(images.labels < images.num_classes // 2)
    names = fewer.class_names[: images.num_classes // 2]
    with expect_refusal(UnsuitableSubjectError, "classes"):
        bench.fitted.decision_function([build(ImageSet(fewer.images, fewer.labels, names))])
    broken = build(images)
    with torch.no_grad():
        next(broken.parameters()).flatten()[0] = float("nan")
    with expect_refusal(UnsuitableSubjectError, "finite"):
        bench.fitted.decision_function([broken])


@_asked_of(Detector)
def _unknown_settings_are_refused(bench: Bench) -> None:
    with expect_refusal(InvalidRequestError, "no_such_setting"):
        new_detector(name_of(bench.fitted), no_such_setting="red")


def _settings_of(detector: Detector) -> dict[str, Any]:
    """Return settings that can be compared; clean images are told by what they are."""
    return {
        key: id(value) if isinstance(value, ImageSet) else value
        for key, value in detector.get_params().items()
    }
