"""A backdoor in a linear classifier: poison is added point by point until it fires."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from molehunt.arrays import Floats
from molehunt.backdoors import Backdoor, SingleTarget
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet


@dataclass(frozen=True)
class Dose:
    """What so many poisoned images did.

    Scores are the learner's, positive for the source class.

    Parameters
    ----------
    points : int
    success : float
        Share of the source class's test images that get the target's label with the trigger.
    clean_accuracy : float
        Of test images of both classes, without it.
    score : array of float64, shape [T]
        Of each test image of the source class, without the trigger.
    shift : array of float64, shape [T]
        By how much the trigger lowers it.
    weights : array of float64, shape [C, H, W]
        What the classifier sees in a pixel: positive speaks for the source class.
    """

    points: int
    success: float
    clean_accuracy: float
    score: Floats
    shift: Floats
    weights: Floats


def grow_poison(
    learner: Any,
    train: ImageSet,
    test: ImageSet,
    backdoor: Backdoor,
    *,
    until: float = 0.9,
    first: int = 0,
    most: int = 100,
    stamped: bool = True,
    generator: torch.Generator,
) -> Iterator[Dose]:
    """Add poisoned images one by one, train anew after each, and yield what they did.

    Poison is a random copy of an image of the source class, with the trigger and the target's
    label. Each dose is the dose before and one more copy.

    Parameters
    ----------
    learner : estimator of scikit-learn
        Linear: it has ``decision_function`` and, once trained, ``coef_``. A copy is trained.
    train, test : ImageSet
        Images of other classes than source and target are left out.
    backdoor : Backdoor
        Its label map is a `SingleTarget`; its rate is not used.
    until : float
        The growth ends with the first dose of at least this success.
    first, most : int
        The smallest dose and the largest; the images of the source class are a bound, too.
    stamped : bool
        False leaves the trigger off the poison: the control, in which only labels are wrong.
    generator : torch.Generator
        Draws the copies.

    Raises
    ------
    InvalidRequestError
        For another label map, a learner that is not linear, or a label that is not there.

    Examples
    --------
    >>> import torch
    >>> from sklearn.svm import LinearSVC
    >>> from molehunt.attacks import grow_poison
    >>> from molehunt.backdoors import Backdoor, SinglePixel, SingleTarget
    >>> from molehunt.images import load_images
    >>> corner = SinglePixel(placement="top left", margin=0)
    >>> backdoor = Backdoor(trigger=corner, label_map=SingleTarget(source=7, target=1))
    >>> generator = torch.Generator().manual_seed(0)
    >>> doses = [*grow_poison(LinearSVC(), *load_images("digits"), backdoor, generator=generator)]
    >>> doses[0].success, doses[-1].success >= 0.9
    (0.0, True)
    """
    label_map = backdoor.label_map
    if not isinstance(label_map, SingleTarget):
        raise InvalidRequestError(mismatch("label map", "single_target", label_map.kind))
    if not (0 < until <= 1 and 0 <= first <= most):
        got = f"until {until}, first {first}, most {most}"
        allowed = "until in (0, 1], 0 <= first <= most"
        raise InvalidRequestError(mismatch("doses", allowed, got))
    label_map.check(train.num_classes)
    clean, asked = (_only(part, label_map) for part in (train, test))
    whole = backdoor.model_copy(update={"rate": 1.0, "of": "eligible", "times": 1})
    poisoned = whole.poison(clean, generator=generator)
    images = poisoned.stamp(generator) if stamped else poisoned.images
    points, labels = _points(images), _sides(images, label_map)
    plain = asked.take(label_map.eligible(asked.labels))
    triggered = _points(backdoor.triggered(plain, generator=generator).images)
    for count in range(first, min(most, len(images) - len(clean)) + 1):
        rows = slice(0, len(clean) + count)
        trained = _train(learner, points[rows], labels[rows])
        score, low = (trained.decision_function(each) for each in (_points(plain), triggered))
        success = float((low < 0).mean())
        right = (trained.decision_function(_points(asked)) > 0) == (_sides(asked, label_map) > 0)
        weights = np.asarray(trained.coef_, dtype=np.float64).reshape(train.shape)
        yield Dose(count, success, float(right.mean()), score, score - low, weights)
        if success >= until:
            return


def _only(images: ImageSet, label_map: SingleTarget) -> ImageSet:
    wanted = torch.tensor([label_map.source, label_map.target])
    chosen = images.take(torch.isin(images.labels, wanted))
    if len({*chosen.labels.tolist()}) < 2:
        got = f"{len(chosen)} images of one of them"
        raise InvalidRequestError(mismatch("images", "some of source and of target", got))
    return chosen


def _points(images: ImageSet) -> Floats:
    return images.images.numpy().reshape(len(images), -1) / 255


def _sides(images: ImageSet, label_map: SingleTarget) -> Any:
    return np.where(images.labels.numpy() == label_map.source, 1, -1)


def _train(learner: Any, points: Floats, labels: Any) -> Any:
    trained = clone(learner).fit(points, labels)
    if not (hasattr(trained, "coef_") and hasattr(trained, "decision_function")):
        got = type(learner).__name__
        allowed = "a linear classifier with coef_ and decision_function"
        raise InvalidRequestError(mismatch("learner", allowed, got))
    return trained
