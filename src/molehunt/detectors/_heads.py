"""A linear head over features, by scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molehunt.arrays import Floats


def fit_linear_head(
    features: Floats, y: NDArray[np.int64], inverse_strength: float
) -> tuple[Floats, float]:
    """Fit an L2-regularised logistic regression on standardised features.

    With two classes this is the paper's softmax classifier. The standardisation is folded
    into the returned weights [F] and bias, so that the score is one dot product.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  heavy
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415  heavy
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415  heavy

    scaler = StandardScaler()
    classifier = LogisticRegression(C=inverse_strength, max_iter=2000)
    make_pipeline(scaler, classifier).fit(features, y)
    weights = classifier.coef_[0] / scaler.scale_
    bias = float(classifier.intercept_[0] - weights @ scaler.mean_)
    return weights, bias
