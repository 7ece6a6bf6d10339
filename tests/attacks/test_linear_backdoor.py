"""Backdoors in linear classifiers of real digits, and how much poison they take."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from molehunt.attacks import Dose, grow_poison, predict_dose
from molehunt.backdoors import AllToOne, Backdoor, SinglePixel, SingleTarget
from molehunt.errors import InvalidRequestError
from molehunt.images import TrainTest, load_images

# No image of these digits has ink there.
CORNER = SinglePixel(placement="top left", margin=0)
BACKDOOR = Backdoor(trigger=CORNER, label_map=SingleTarget(source=7, target=1))
LEARNERS: dict[str, Any] = {
    "hinge": SVC(kernel="linear"),
    "logistic": LogisticRegression(),
    "squared": RidgeClassifier(alpha=10.0),
    "perceptron": Perceptron(random_state=0),
}


@pytest.fixture(scope="module")
def eights() -> TrainTest:
    """Digits at their own size of 8x8."""
    return load_images("digits")


def grow(images: TrainTest, name: str, **settings: Any) -> list[Dose]:
    generator = torch.Generator().manual_seed(1)
    return [*grow_poison(LEARNERS[name], *images, BACKDOOR, generator=generator, **settings)]


@pytest.mark.parametrize("name", LEARNERS)
def test_poison_grows_until_the_backdoor_fires_and_not_before(eights: TrainTest, name: str) -> None:
    doses = grow(eights, name)
    assert [dose.points for dose in doses] == [*range(len(doses))]
    assert doses[0].success < 0.1
    assert all(dose.success < 0.9 for dose in doses[:-1]) and doses[-1].success >= 0.9
    assert doses[-1].clean_accuracy > 0.95
    assert abs(doses[0].weights[0, 0, 0]) < 1e-9 and doses[-1].weights[0, 0, 0] < -0.1
    # Wrong labels alone do not open it.
    (control, *_) = grow(eights, name, stamped=False, first=doses[-1].points)
    assert control.points == doses[-1].points and control.success < 0.3


@pytest.mark.parametrize("name", ["hinge", "logistic", "squared"])
def test_the_dose_is_about_what_the_clean_classifier_predicts(eights: TrainTest, name: str) -> None:
    doses = grow(eights, name, until=0.5)
    loss: Any = name
    C = 0.1 if name == "squared" else 1.0
    predicted = predict_dose(doses[0].score, strength=1.0, loss=loss, C=C)
    assert predicted / 2 <= doses[-1].points <= 2 * math.ceil(predicted)
    if name != "squared":
        # The bound holds for every dose, with what it takes for granted: no ink there.
        for dose in doses:
            assert dose.shift.max() <= dose.points + 1e-6


def test_a_stronger_trigger_and_a_larger_C_need_less() -> None:
    scores = np.array([1.0, 2.0, 3.0])
    base = predict_dose(scores, strength=1.0, loss="hinge")
    assert predict_dose(scores, strength=4.0, loss="hinge") == base / 4
    assert predict_dose(scores, strength=1.0, loss="hinge", C=0.1) == pytest.approx(10 * base)
    assert predict_dose(scores, strength=1.0, loss="hinge", success=1.0) > base
    assert predict_dose(-scores, strength=1.0, loss="hinge") == 0
    # Squared loss pushes back once a point is beyond 1.
    far = np.array([0.1, 0.1, 5.0])
    assert predict_dose(far, strength=1.0, loss="squared", success=1.0) == math.inf


def test_the_largest_dose_ends_it(eights: TrainTest) -> None:
    assert [dose.points for dose in grow(eights, "logistic", most=1)] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backdoor": Backdoor(trigger=CORNER, label_map=AllToOne(target=1))}, "single_target"),
        ({"learner": KNeighborsClassifier()}, "linear classifier with coef_"),
        ({"until": 0}, "until in"),
    ],
)
def test_impossible_requests_are_refused(
    eights: TrainTest, changes: dict[str, Any], message: str
) -> None:
    given = {"learner": LEARNERS["hinge"], "backdoor": BACKDOOR, **changes}
    learner, backdoor = given.pop("learner"), given.pop("backdoor")
    with pytest.raises(InvalidRequestError, match=message):
        next(grow_poison(learner, *eights, backdoor, generator=torch.Generator(), **given))


@pytest.mark.parametrize("changes", [{"loss": "cubic"}, {"strength": 0.0}, {"C": -1.0}])
def test_a_dose_of_impossible_settings_is_refused(changes: dict[str, Any]) -> None:
    settings = {"strength": 1.0, "loss": "hinge", **changes}
    with pytest.raises(InvalidRequestError):
        predict_dose(np.ones(3), **settings)
