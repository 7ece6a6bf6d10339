"""Activation clustering (Chen and others, 2018): poison as a cluster of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from molehunt.arrays import Floats
from molehunt.defences._data_filter import FeatureFilter


class ActivationClustering(FeatureFilter):
    """Splits each class's features in two; the half with fewer clean images is suspicious.

    As in the paper (Algorithm 1): features are reduced to `components` by independent
    component analysis and split by k-means. The paper then compares sizes or silhouettes, or
    trains anew; where half of a class is poisoned the smaller half may be the clean one, so we
    take the half that holds a smaller share of the anchors than of the suspects. The score is
    how much nearer an image is to that half's centre.

    Parameters
    ----------
    components : int
        10 in the paper.
    seed : int

    References
    ----------
    Chen, Carvalho, Baracaldo, Ludwig, Edwards, Lee, Molloy, Srivastava: Detecting Backdoor
    Attacks on Deep Neural Networks by Activation Clustering, arXiv 1811.03728, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from molehunt.defences import ActivationClustering
    >>> rng = np.random.default_rng(0)
    >>> clean, poison = rng.normal(size=(200, 20)), rng.normal(size=(60, 20)) + 5
    >>> clustering = ActivationClustering(components=3)
    >>> score = clustering.fit_class(np.r_[clean[:150], poison], clean[150:])
    >>> bool(score(poison).min() > score(clean).max())
    True
    """

    name: ClassVar[str] = "activation-clustering"

    def __init__(self, components: int = 10, seed: int = 0) -> None:
        self.components = components
        self.seed = seed

    def fit_class(self, suspects: Floats, anchors: Floats) -> Callable[[Floats], Floats]:
        """Return the distance to the usual centre less that to the suspicious one."""
        from sklearn.cluster import KMeans  # noqa: PLC0415  heavy
        from sklearn.decomposition import FastICA  # noqa: PLC0415  heavy
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  heavy

        # Units that never move leave the whitening without a scale.
        moving = suspects.std(0) > 1e-9
        count = min(self.components, int(moving.sum()), len(suspects) - 1)
        if count < 1:
            return lambda features: np.zeros(len(features))
        reduce = FastICA(count, whiten="unit-variance", random_state=self.seed, tol=1e-2)
        with warnings.catch_warnings():
            # Any rotation of the whitened features keeps the distances that count below.
            warnings.simplefilter("ignore", ConvergenceWarning)
            points = reduce.fit_transform(suspects[:, moving])
        halves = KMeans(2, n_init=10, random_state=self.seed).fit(points)
        known = halves.predict(reduce.transform(anchors[:, moving]))
        excess = [(halves.labels_ == half).mean() - (known == half).mean() for half in (0, 1)]
        suspicious = int(np.argmax(excess))

        def score(features: Floats) -> Floats:
            distances = halves.transform(reduce.transform(features[:, moving]))
            nearer: Floats = distances[:, 1 - suspicious] - distances[:, suspicious]
            return nearer

        return score
