"""Unit statistics: a model's weights as sets of units, in no order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.detectors._statistics import WeightStatistics
from molehunt.networks import Classifier

_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class UnitStatistics(WeightStatistics):
    """A linear classifier over what each layer's units are like, and not which unit is which.

    Units of a layer can change places without a change of what the model does, so weights
    must be read as sets (Ganju, Wang, Yang, Gunter and Borisov, Property Inference Attacks on
    Fully Connected Neural Networks using Permutation Invariant Representations, CCS 2018). They
    sort units or learn a function of sets; here each unit has its weights' norm, mean, deviation
    and extremes, a layer the quantiles of each over its units, and the first layer, whose
    inputs have places, also mean and deviation over units for each weight. All models must
    have one architecture.

    Parameters
    ----------
    inverse_strength : float
        C of the logistic regression.

    Examples
    --------
    >>> from molehunt.detectors import UnitStatistics
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits, softmax = load_images("digits").test, {"hidden": [8]}
    >>> models = [build_classifier("mlp", digits, arguments=softmax, seed=n) for n in range(6)]
    >>> detector = UnitStatistics().fit(models, [0, 1] * 3)  # 1: has the property
    >>> detector.predict_proba(models).shape
    (6, 2)
    """

    def __init__(self, *, inverse_strength: float = 0.01) -> None:
        super().__init__(inverse_strength=inverse_strength)

    def _features(self, models: Sequence[Classifier]) -> Floats:
        return np.stack([_units_of(models[position]) for position in range(len(models))])


def _units_of(model: Classifier) -> Floats:
    """Return the statistics of every tensor's units, in the order of the tensors."""
    shares = torch.tensor(_SHARES, dtype=torch.float64)
    numbers: list[Tensor] = []
    for tensor in model.network.state_dict().values():
        values = tensor.double().cpu()
        if values.ndim < 2:
            numbers.append(torch.quantile(values.flatten(), shares))
            continue
        units = values.flatten(1)
        if not numbers:
            numbers += [units.mean(0), units.std(0, correction=0)]
        each = (
            units.norm(dim=1),
            units.mean(1),
            units.std(1, correction=0),
            units.amin(1),
            units.amax(1),
        )
        numbers += [torch.quantile(statistic, shares) for statistic in each]
    return torch.cat(numbers).numpy()
