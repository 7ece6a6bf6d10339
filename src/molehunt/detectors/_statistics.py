"""Weight statistics: what a model's numbers alone give away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from molehunt.arrays import Floats
from molehunt.detectors._heads import fit_linear_head
from molehunt.detectors._meta_classifier import MetaClassifier
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Access, Classifier, architecture_key
from molehunt.progress import Progress


class WeightStatistics(MetaClassifier):
    """A linear classifier over each tensor's norm, mean, deviation, extremes and kurtosis.

    A baseline and a control: what it scores on a zoo is no merit of litmus patterns,
    and a high score means that the zoo's clean and backdoored models differ in traces
    of their training (batch-norm buffers, counters, steps). It runs no image through
    the model. All models must have one architecture.

    Parameters
    ----------
    inverse_strength : float
        C of the logistic regression.

    Attributes
    ----------
    architecture_ : str

    Examples
    --------
    >>> from molehunt.detectors import WeightStatistics
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> models = [build_classifier("vgg", digits, arguments=vgg, seed=n) for n in range(6)]
    >>> detector = WeightStatistics().fit(models, [0, 1] * 3)  # 1: backdoored
    >>> detector.predict_proba(models).shape
    (6, 2)
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})

    learned = MetaClassifier.learned | {"architecture_"}

    def __init__(self, *, inverse_strength: float = 0.1) -> None:
        self.inverse_strength = inverse_strength

    def check_learned(self) -> None:
        """Refuse what no fit gives; raises as `Detector.check_learned` does."""
        super().check_learned()
        if not isinstance(self.architecture_, str):
            raise InvalidRequestError(mismatch("architecture_", "a text", "something else"))

    def check_subject(self, model: Classifier) -> None:
        """Refuse a model that this detector cannot judge, also one of another architecture."""
        super().check_subject(model)
        key = architecture_key(model)
        if key != getattr(self, "architecture_", key):
            raise UnsuitableSubjectError(
                mismatch("architecture of the model", self.architecture_, key)
            )

    def _learn(
        self, models: Sequence[Classifier], y: NDArray[np.int64], progress: Progress
    ) -> None:
        self.__dict__.pop("architecture_", None)  # of an earlier fit
        self.architecture_ = architecture_key(models[0])
        self.fitted_features_ = self._features(models)
        self.weights_, self.bias_ = fit_linear_head(self.fitted_features_, y, self.inverse_strength)

    def _features(self, models: Sequence[Classifier]) -> Floats:
        return np.stack(
            [statistics_of(models[at]).detach().cpu().numpy() for at in range(len(models))]
        )


def statistics_of(model: Classifier) -> torch.Tensor:
    """Return the statistics of every tensor, float64 [6 T]; gradients reach the weights."""
    numbers: list[torch.Tensor] = []
    for tensor in model.network.state_dict(keep_vars=True).values():
        values = tensor.double().flatten()
        mean, deviation = values.mean(), values.std(correction=0)
        numbers += [
            values.norm(),
            mean,
            deviation,
            values.min(),
            values.max(),
            (((values - mean) / (deviation + 1e-12)) ** 4).mean(),
        ]
    return torch.stack(numbers)
