"""The checks taken together: does what a classifier learns from both beat the best alone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from molehunt.arrays import Floats
from molehunt.detectors import auc_with_interval
from molehunt_studies.reference.readings import ReadingRecord

_QUANTILES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.0)


def combine(rows: Sequence[ReadingRecord], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the AUC, by kind, of a logistic regression that saw other networks alone."""
    features = np.stack([_features(row) for row in rows])
    truth = np.array([row.kind is not None for row in rows])
    networks = np.array([row.network for row in rows])
    scores = np.zeros(len(rows))
    for network in dict.fromkeys(networks):
        left_out = networks == network
        if len(set(truth[~left_out])) < 2:
            return {}
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))
        model.fit(features[~left_out], truth[~left_out])
        scores[left_out] = model.decision_function(features[left_out])
    named = np.array([kinds[row.id] for row in rows])
    return {
        kind: auc_with_interval(scores[~truth], scores[truth & (named == kind)]).model_dump()
        for kind in dict.fromkeys(named[truth])
    }


def _features(row: ReadingRecord) -> Floats:
    """Return numbers that know neither the order nor the number of classes, nor a scale."""
    margins = np.asarray(row.statistics["margin"])
    middle = max(float(np.median(margins)), 1e-6)
    others = np.asarray(row.statistics["final-layer"])
    return np.concatenate(
        [
            np.log(np.maximum(np.quantile(margins, _QUANTILES) / middle, 1e-3)),
            np.quantile(others, _QUANTILES),
            [np.log(max(margins[0] / max(margins[1], 1e-6), 1e-3)), others[0] - others[1]],
        ]
    )
