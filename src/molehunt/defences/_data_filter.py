"""Filters of training images: which are poisoned, with a stated rate of false alarms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, features_of

Scorer = Callable[[ImageSet], Floats]
# Under it a class has more removed images than false alarms explain: at most one clean set in
# 20 has such a class.
_SUSPICIOUS = 0.05
_LEAST_CLEAN = 10  # of a class: five for its scale, five for ranks


class DataFilter(Protocol):
    """Tells poisoned training images by a model that was trained on them.

    Attributes
    ----------
    name : str
        As in `DATA_FILTERS`.
    """

    name: ClassVar[str]

    def fit(self, model: Classifier, suspects: ImageSet, anchors: ImageSet) -> Scorer:
        """Return what scores images of the suspects' classes; higher is more suspicious.

        Parameters
        ----------
        model : Classifier
            Trained on `suspects`.
        suspects : ImageSet
            The training set, with the labels that were trained on.
        anchors : ImageSet
            Images that are known to be clean.
        """


@dataclass(frozen=True)
class Filtered:
    """What a filter says of each image of a training set.

    Parameters
    ----------
    p_values : array of float, shape [N]
        Conformal, against images that are known to be clean.
    max_false_alarms : float
        Images with a p-value up to it are removed.
    labels : array of int, shape [N]
        Of the set.
    null_p_values, null_labels : arrays, shape [M]
        The same of the clean images that made the ranks.
    """

    p_values: Floats
    max_false_alarms: float
    labels: NDArray[np.int64]
    null_p_values: Floats
    null_labels: NDArray[np.int64]

    @property
    def removed(self) -> NDArray[np.bool_]:
        """Which images are removed, bool [N]."""
        removed: NDArray[np.bool_] = self.p_values <= self.max_false_alarms
        return removed

    def surplus(self) -> dict[int, float]:
        """Return, for each class, how likely so many of its images go if all are clean.

        Fisher's exact test of suspects against clean images of the class, as a class's scale
        may be off; times the number of classes (Bonferroni), at most 1.

        Examples
        --------
        >>> import numpy as np
        >>> from molehunt.defences import Filtered
        >>> p_values = np.r_[np.full(60, 0.001), np.linspace(0.02, 1, 140)]
        >>> clean = np.linspace(0.02, 1, 100)
        >>> labels = np.repeat([0, 1], 100)
        >>> filtered = Filtered(p_values, 0.01, labels, clean, np.repeat([0, 1], 50))
        >>> {label: p < 0.01 for label, p in filtered.surplus().items()}
        {0: True, 1: False}
        """
        from scipy.stats import hypergeom  # noqa: PLC0415  heavy

        classes = np.unique(self.labels)
        chances = {}
        for label in classes:
            own = self.removed[self.labels == label]
            known = self.null_p_values[self.null_labels == label] <= self.max_false_alarms
            both, gone = len(own) + len(known), int(own.sum() + known.sum())
            chance = float(hypergeom.sf(own.sum() - 1, both, gone, len(own)))
            chances[int(label)] = min(1.0, chance * len(classes))
        return chances

    def suspicious(self) -> list[int]:
        """Return the classes of which more images are removed than false alarms explain.

        A set of clean images has any with probability 0.05 at most.
        """
        return [label for label, chance in self.surplus().items() if chance < _SUSPICIOUS]


def filter_images(
    method: DataFilter,
    model: Classifier,
    suspects: ImageSet,
    clean: ImageSet,
    *,
    max_false_alarms: float = 0.01,
) -> Filtered:
    """Judge every image of a training set against images that are known to be clean.

    Every other clean image of a class is an anchor: a filter may look at them, and each
    class's scores are brought to their median and spread. The other ones are the null: a
    suspect's p-value is the rank of its score among theirs. A clean suspect that is
    distributed like them is removed with probability `max_false_alarms` at most. The model
    learned its training images and not the clean ones, which makes training images look
    rather cleaner.

    Parameters
    ----------
    method : DataFilter
    model : Classifier
        Trained on `suspects`; `molehunt.training.train` makes one.
    suspects : ImageSet
    clean : ImageSet
        Not part of the training set; at least ten of each class that suspects have.
    max_false_alarms : float
        In (0, 1); not less than 1 over one more than half of the clean images.

    Raises
    ------
    InvalidRequestError
        If there are too few clean images for the rate or for a class, or the classes differ.

    Examples
    --------
    >>> from molehunt.defences import Sphere, filter_images
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits = load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> _ = train(model, digits.train, Recipe(epochs=1, batch_size=64), seed=0)
    >>> found = filter_images(Sphere(), model, digits.train, digits.test, max_false_alarms=0.05)
    >>> bool(found.removed.mean() < 0.1)
    True
    """
    if suspects.num_classes != clean.num_classes or suspects.shape != clean.shape:
        got = f"{clean.num_classes} classes of {clean.shape}"
        allowed = f"the training set's {suspects.num_classes} classes of {suspects.shape}"
        raise InvalidRequestError(mismatch("clean images", allowed, got))
    anchors, null = _split(suspects, clean)
    least = 1 / (len(null) + 1)
    if not least <= max_false_alarms < 1:
        allowed = f"{least:.4f} (one over the clean images that make ranks) to under 1"
        raise InvalidRequestError(mismatch("max_false_alarms", allowed, max_false_alarms))
    score = method.fit(model, suspects, anchors)
    centre, spread = _scales(score(anchors), anchors.labels, suspects.num_classes)

    def scaled(images: ImageSet) -> Floats:
        labels = images.labels.numpy()
        values: Floats = (score(images) - centre[labels]) / spread[labels]
        return values

    values = scaled(null)
    known = np.sort(values)

    def above(scores: Floats) -> NDArray[np.int64]:
        count: NDArray[np.int64] = len(known) - np.searchsorted(known, scores, side="left")
        return count

    return Filtered(
        (1 + above(scaled(suspects))) / (len(known) + 1),
        max_false_alarms,
        suspects.labels.numpy(),
        above(values) / (len(known) + 1),
        null.labels.numpy(),
    )


class FeatureFilter(ABC):
    """A `DataFilter` that looks at the features of one class after the other."""

    def fit(self, model: Classifier, suspects: ImageSet, anchors: ImageSet) -> Scorer:
        """Return what scores images by their features, each within the class of its label."""
        own, known = features_of(model, suspects.images), features_of(model, anchors.images)
        scorers = {
            label: self.fit_class(
                own[suspects.labels == label].double().numpy(),
                known[anchors.labels == label].double().numpy(),
            )
            for label in _classes_in(suspects)
        }

        def score(images: ImageSet) -> Floats:
            ready = own if images is suspects else known if images is anchors else None
            features = features_of(model, images.images) if ready is None else ready
            scores = np.empty(len(images))
            for label in _classes_in(images):
                at = (images.labels == label).numpy()
                scores[at] = scorers[label](features[at].double().numpy())
            return scores

        return score

    @abstractmethod
    def fit_class(self, suspects: Floats, anchors: Floats) -> Callable[[Floats], Floats]:
        """Return what scores features [N, D] of one class."""


def _classes_in(images: ImageSet) -> list[int]:
    return [int(label) for label in np.unique(images.labels.numpy())]


def _split(suspects: ImageSet, clean: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Return anchors and null: every other clean image of each class that suspects have."""
    first = torch.zeros(len(clean), dtype=torch.bool)
    second = first.clone()
    for label in _classes_in(suspects):
        places: Tensor = (clean.labels == label).nonzero().flatten()
        if len(places) < _LEAST_CLEAN:
            name = suspects.class_names[label]
            raise InvalidRequestError(
                mismatch(f"clean images of class {name!r}", f"{_LEAST_CLEAN} or more", len(places))
            )
        first[places[::2]] = True
        second[places[1::2]] = True
    return clean.take(first), clean.take(second)


def _scales(scores: Floats, labels: Tensor, num_classes: int) -> tuple[Floats, Floats]:
    """Return the median and the spread of each class's scores; 0 and 1 for one without any."""
    centre, spread = np.zeros(num_classes), np.ones(num_classes)
    for label in np.unique(labels.numpy()):
        own = scores[(labels == label).numpy()]
        centre[label] = np.median(own)
        lower, upper = np.quantile(own, [0.25, 0.75])
        spread[label] = max(upper - lower, 1e-12)
    return centre, spread
