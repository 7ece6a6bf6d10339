"""The histogram of wrong predictions: where a model's mistakes go, and where they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from molehunt.detectors import WrongPredictions, mistakes_of
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.findings import Status
from molehunt.images import ImageSet
from molehunt.networks import BlackBox, ModelCard

CARD = ModelCard(
    architecture="none",
    input_shape=(1, 4, 4),
    mean=(0.0,),
    std=(1.0,),
    class_names=tuple("abcd"),
)


def answering(confusion: list[list[int]]) -> tuple[BlackBox, ImageSet]:
    """Return a model, and images of which it makes as many mistakes of each kind."""
    pairs = [
        (label, answer)
        for label, row in enumerate(confusion)
        for answer, count in enumerate(row)
        for _ in range(count)
    ]
    labels, answers = torch.tensor(pairs).T
    images = torch.zeros(len(pairs), 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = answers.byte()

    def answer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.eye(4, dtype=np.float32)[np.round(pixels[:, 0, 0, 0] * 255).astype(int)]

    return BlackBox(answer, CARD), ImageSet(images, labels, CARD.class_names)


ALIKE = [[9, 2, 2, 2], [2, 9, 2, 2], [2, 2, 9, 2], [2, 2, 2, 9]]
TO_THE_LAST = [[9, 0, 0, 6], [0, 9, 0, 6], [0, 0, 9, 6], [2, 2, 2, 9]]
LIKE_IT = [[9, 6, 0, 0], [6, 9, 0, 0], [0, 0, 9, 6], [0, 0, 6, 9]]


def test_mistakes_are_counted_by_label_and_answer() -> None:
    model, images = answering(TO_THE_LAST)
    expected = np.array(TO_THE_LAST) * (1 - np.eye(4))
    np.testing.assert_array_equal(mistakes_of(model, images), expected)


def test_a_class_that_takes_most_mistakes_stands_out() -> None:
    scores = {}
    for name, confusion in (("alike", ALIKE), ("last", TO_THE_LAST)):
        model, images = answering(confusion)
        found = WrongPredictions(images=images).examine(model)
        scores[name] = found.score
        assert found.p_value is not None
        assert (found.p_value < 0.01) == (name == "last")
    assert found.target == 3 and "takes 18 of 24 mistakes, 6 are expected" in found.remark
    assert scores["alike"] == pytest.approx(0) and scores["last"] > 4


def test_a_null_of_its_own_neither_convicts_nor_clears() -> None:
    for confusion, status in ((TO_THE_LAST, Status.INCONCLUSIVE), (ALIKE, Status.CLEAR)):
        model, images = answering(confusion)
        (finding,) = WrongPredictions(images=images).judge([model], [0.05])
        assert finding.status is status
        assert finding.weak == (status is Status.CLEAR)


def test_what_clean_models_confuse_is_expected() -> None:
    model, images = answering(LIKE_IT)
    # Every clean model takes a for b, as this one does, and is told from one that does not.
    others = [answering(LIKE_IT)[0] for _ in range(19)]
    detector = WrongPredictions(images=images).calibrate([*others], [0] * 19)
    assert detector.examine(model).score < 1
    assert WrongPredictions(images=images).examine(model).p_value == pytest.approx(1.0)
    strange, strange_images = answering(TO_THE_LAST)
    detector.set_params(images=strange_images)
    found = detector.examine(strange)
    assert found.target == 3 and detector.p_value_of(found) == 1 / 20


def test_too_few_mistakes_and_bad_settings_are_refused() -> None:
    model, images = answering([[9, 1, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9]])
    with pytest.raises(UnsuitableSubjectError, match="give more clean images"):
        WrongPredictions(images=images).examine(model)
    with pytest.raises(InvalidRequestError, match="prior"):
        WrongPredictions(images=images, prior=-1.0).examine(model)
    with pytest.raises(InvalidRequestError, match="images of WrongPredictions"):
        WrongPredictions().examine(model)
