"""Inspection of the final layer: does one class's row of weights stand out?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import log_ndtr
from torch import nn

from molehunt.arrays import Floats
from molehunt.detectors._outliers import log10_p_of_largest, robust_z
from molehunt.detectors._zoo_free import Examination, ZooFreeDetector
from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.networks import Access, Classifier

_CELLS_AT_ONCE = 2**22  # of the matrix of cosines


class FinalLayer(ZooFreeDetector):
    """Anomalies of each class's row in the last linear layer, combined; it has no settings.

    A backdoor's target is reached from features of many classes: its row of weights is
    larger on the whole and points away from all other rows. Three indicators of
    each class's row w_c: its mean, minus its mean cosine to the other rows, and minus its
    largest cosine to another row. Each becomes a robust z over the classes (distance
    from the median over 1.4826 times the median absolute deviation); a class's statistic
    is the mean of its three z; the score is −log10 of the largest one's p-value.
    No image runs through the model, and it takes a few milliseconds.

    Notes
    -----
    Our reading of the idea of DFBScanner, which combines anomaly indicators of the final
    layer's parameters and judges by the maximum; its own indicators and their combination
    are not these. Ours were chosen on development zoos among 20 (sums, norms, extremes,
    skewness, kurtosis, biases), where biases and norms told nothing. It sees what has one
    target for many classes; a backdoor of one source class barely moves the row.

    Its null is our own, not a published one: a class's statistic as a standard normal
    variable, the largest of K independent ones.

    References
    ----------
    Yu, Fang, Zhang, Tian, Zhu, Zhang, Liu: Lightweight and Fast Backdoor Model Detection,
    arXiv 2605.18907, 2026.

    Examples
    --------
    >>> from molehunt.detectors import FinalLayer
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> found = FinalLayer().examine(model)
    >>> found.statistics.shape  # one a class
    (10,)
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    own_null_holds = True
    reference = "final-layer"
    own_null = "normal law of the classes (our own null, not a published one)"
    least_classes = 4

    def __init__(self) -> None:
        pass

    def check_subject(self, model: Classifier) -> None:
        """Refuse a model that this detector cannot judge, also one without a final layer.

        Raises
        ------
        UnsuitableSubjectError
            With the property that does not fit.
        """
        super().check_subject(model)
        final_layer_of(model)

    def _examine(self, model: Classifier) -> Examination:
        layer = final_layer_of(model)
        weights = layer.weight.detach().double().flatten(1).cpu().numpy()
        statistics = np.mean([robust_z(values) for values in _indicators(weights)], axis=0)
        log_tail = float(log_ndtr(-statistics.max()))
        score = -log10_p_of_largest(log_tail, len(statistics))
        return Examination(
            score=score,
            p_value=10**-score,
            statistics=statistics,
            target=int(statistics.argmax()),
        )


def final_layer_of(model: Classifier) -> nn.Linear | nn.Conv2d:
    """Return the last linear layer, or 1x1 convolution, that has one output a class.

    Raises
    ------
    UnsuitableSubjectError
        If there is none, as in a graph that was exported without its modules.
    """
    classes = model.card.num_classes
    found: nn.Linear | nn.Conv2d | None = None
    for module in model.network.modules():
        if (isinstance(module, nn.Linear) and module.out_features == classes) or (
            isinstance(module, nn.Conv2d)
            and module.out_channels == classes
            and module.kernel_size == (1, 1)
            and module.groups == 1
        ):
            found = module
    if found is None:
        allowed = f"a linear layer or 1x1 convolution with {classes} outputs"
        raise UnsuitableSubjectError(mismatch("final layer of the model", allowed, "none"))
    return found


def _indicators(weights: Floats) -> list[Floats]:
    """Return the indicators, [K] each, of rows [K, F]; higher for more suspicious."""
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    directions = weights / np.maximum(lengths, 1e-12)
    classes = len(weights)
    mean = np.empty(classes)
    largest = np.empty(classes)
    # A block of rows at a time: heads have up to hundreds of thousands of classes.
    size = max(1, _CELLS_AT_ONCE // classes)
    for start in range(0, classes, size):
        rows = np.arange(start, min(start + size, classes))
        cosines = directions[rows] @ directions.T
        own = rows - start, rows
        mean[rows] = (cosines.sum(axis=1) - cosines[own]) / (classes - 1)
        cosines[own] = -1
        largest[rows] = cosines.max(axis=1)
    return [weights.mean(axis=1), -mean, -largest]
