from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import load_images
from molehunt.networks import (
    BlackBox,
    BudgetSpentError,
    Classifier,
    Queried,
    Reveals,
    build_classifier,
    wrap_estimator,
)

DIGITS = load_images("digits", size=12)
PIXELS = DIGITS.test.pixels()[:20]


@pytest.fixture(scope="module")
def model() -> Classifier:
    vgg = {"width": 4, "stages": [1, 1]}
    return build_classifier("vgg", DIGITS.train, arguments=vgg, seed=0)


def test_each_image_counts_whatever_is_asked(model: Classifier) -> None:
    target = Queried(model, reveals=Reveals.WEIGHTS)
    target.predict(PIXELS)
    target.confidences(PIXELS[:3])
    target.logits(PIXELS[:2])
    target.module()(PIXELS[:5])
    assert target.queries == 30
    target.judge(DIGITS.test.images)
    assert target.queries == 30


def test_gradients_flow_where_weights_are_revealed(model: Classifier) -> None:
    pixels = PIXELS.clone().requires_grad_()
    Queried(model, reveals=Reveals.WEIGHTS).module()(pixels).sum().backward()
    assert pixels.grad is not None
    assert float(pixels.grad.abs().sum()) > 0


@pytest.mark.parametrize("reveals", [Reveals.CONFIDENCES, Reveals.ROUNDED, Reveals.LABELS])
def test_less_is_revealed_than_weights(model: Classifier, reveals: Reveals) -> None:
    target = Queried(model, reveals=reveals)
    for ask in (target.logits, lambda _: target.weights):
        with pytest.raises(UnsuitableSubjectError, match=f"its {reveals.value} only"):
            ask(PIXELS)
    assert target.queries == 0
    assert not target.module()(PIXELS.clone().requires_grad_()).requires_grad


def test_rounded_confidences_have_their_decimals(model: Classifier) -> None:
    given = Queried(model, reveals=Reveals.ROUNDED, decimals=1).confidences(PIXELS)
    assert torch.allclose(given * 10, (given * 10).round(), atol=1e-5)
    assert torch.equal(given, model(PIXELS).softmax(1).round(decimals=1))


def test_top_hides_the_other_classes(model: Classifier) -> None:
    given = Queried(model, top=3).confidences(PIXELS)
    assert bool(((given > 0).sum(1) == 3).all())


def test_labels_answer_with_labels(model: Classifier) -> None:
    target = Queried(model, reveals=Reveals.LABELS)
    assert torch.equal(target.module()(PIXELS).argmax(1), model(PIXELS).argmax(1))
    with pytest.raises(UnsuitableSubjectError, match="labels only, not confidences"):
        target.confidences(PIXELS)


def test_a_question_over_the_budget_is_not_asked(model: Classifier) -> None:
    target = Queried(model, budget=25)
    target.predict(PIXELS)
    with pytest.raises(BudgetSpentError, match="25 queries is spent: 5 are left, 20 were wanted"):
        target.predict(PIXELS)
    assert (target.queries, target.remaining) == (20, 5)
    assert len(target.predict(PIXELS[:5])) == 5


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (PIXELS[:, :, 1:], "expected pixels of shape"),
        (PIXELS[0], "expected pixels of shape"),
        (PIXELS[:0], "N at least 1"),
        (PIXELS * 255, r"expected pixels in \[0, 1\]"),
        (PIXELS * float("nan"), r"expected pixels in \[0, 1\], got nan"),
    ],
)
def test_images_that_make_no_sense_are_not_asked(
    model: Classifier, images: torch.Tensor, said: str
) -> None:
    target = Queried(model)
    with pytest.raises(InvalidRequestError, match=said):
        target.predict(images)
    assert target.queries == 0


@pytest.mark.parametrize("settings", [{"budget": -1}, {"decimals": 7}, {"top": 0}, {"top": 11}])
def test_settings_outside_their_range_are_refused(
    model: Classifier, settings: dict[str, int]
) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(settings))):
        Queried(model, **settings)  # type: ignore[arg-type]


def test_answers_that_are_not_finite_end_the_attack(model: Classifier) -> None:
    box = BlackBox(
        lambda images: (images.reshape(len(images), -1) * float("nan"))[:, :10], model.card
    )
    with pytest.raises(UnsuitableSubjectError, match="not finite"):
        Queried(box).predict(PIXELS)


def test_what_gives_no_gradients_reveals_no_weights(model: Classifier) -> None:
    box = BlackBox(lambda images: images.reshape(len(images), -1)[:, :10], model.card)
    with pytest.raises(UnsuitableSubjectError, match="gives no gradients"):
        Queried(box, reveals=Reveals.WEIGHTS)


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(max_iter=500), LinearSVC(), KNeighborsClassifier()], ids=str
)
def test_estimators_answer_as_they_predict(estimator: object) -> None:
    rows = DIGITS.train.pixels().flatten(1).numpy() * 16
    estimator.fit(rows, DIGITS.train.labels.numpy())  # type: ignore[attr-defined]
    box = wrap_estimator(estimator, DIGITS.train.shape, value_range=(0.0, 16.0))
    wanted = estimator.predict(PIXELS.flatten(1).numpy() * 16)  # type: ignore[attr-defined]
    assert Queried(box, reveals=Reveals.LABELS).predict(PIXELS).tolist() == wanted.tolist()


def test_an_estimator_of_labels_reveals_labels_only() -> None:
    class OnlyLabels:
        classes_ = [0, 1]  # noqa: RUF012

        def predict(self, rows: object) -> object:
            raise AssertionError("not asked")

    box = wrap_estimator(OnlyLabels(), (1, 2, 2))
    with pytest.raises(UnsuitableSubjectError, match="labels only"):
        Queried(box)
    assert Queried(box, reveals=Reveals.LABELS).num_classes == 2


def test_an_estimator_of_two_classes_decides_by_the_sign() -> None:
    pair = DIGITS.train.take(DIGITS.train.labels < 2)
    rows = pair.pixels().flatten(1).numpy()
    estimator = LinearSVC().fit(rows, pair.labels.numpy())
    box = wrap_estimator(estimator, pair.shape)
    assert box(pair.pixels()).argmax(1).tolist() == estimator.predict(rows).tolist()


@pytest.mark.parametrize(
    ("estimator", "shape", "said"),
    [
        (LogisticRegression(), (1, 2, 2), "expected a fitted classifier"),
        (object(), (1, 2, 2), "expected a fitted classifier"),
        (LogisticRegression().fit([[0.0] * 5, [1.0] * 5], [0, 1]), (1, 2, 2), "expected 5 pixels"),
    ],
)
def test_what_is_no_fitted_classifier_of_images_is_refused(
    estimator: object, shape: tuple[int, int, int], said: str
) -> None:
    with pytest.raises(UnsuitableSubjectError, match=said):
        wrap_estimator(estimator, shape)


def test_who_measures_asks_what_stands_behind_a_front(model: Classifier) -> None:
    class Front(Classifier):
        @property
        def measured(self) -> Classifier:
            return model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError("asked the front")

    target = Queried(Front(model, model.card))
    assert torch.equal(target.judge(DIGITS.test.images), Queried(model).judge(DIGITS.test.images))


def test_another_model_beside_reveals_as_much_and_counts_on_its_own() -> None:
    model = build_classifier("mlp", DIGITS.train, arguments={"hidden": [8]}, seed=0)
    other = build_classifier("mlp", DIGITS.train, arguments={"hidden": [8]}, seed=1)
    shown = DIGITS.test.pixels()[:4]
    target = Queried(model, reveals=Reveals.ROUNDED, decimals=1, top=2, budget=3)
    beside = target.beside(other)
    answers = beside.confidences(shown)
    assert torch.equal(answers, answers.round(decimals=1))
    assert int((answers > 0).sum(1).max()) <= 2
    assert (target.queries, beside.queries, beside.remaining) == (0, 4, None)
    white = Queried(model, reveals=Reveals.WEIGHTS).beside(other)
    assert white.reveals is Reveals.CONFIDENCES
