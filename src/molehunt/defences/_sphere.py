"""The sphere defence: outliers are what lies far from the middle of their class."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from molehunt.arrays import Floats
from molehunt.defences._data_filter import FeatureFilter


class Sphere(FeatureFilter):
    """Scores features by their distance from their class's mean.

    The sphere defence of Steinhardt, Koh and Liang (NeurIPS 2017, section 2), on features in
    place of pixels, and with the mean of images that are known to be clean (their oracle
    defence). Their certificate bounds the loss of a linear learner (`bound_poisoned_loss`), so it
    does not hold for networks.

    Examples
    --------
    >>> import numpy as np
    >>> from molehunt.defences import Sphere
    >>> Sphere().fit_class(np.zeros((4, 2)), np.zeros((4, 2)))(np.array([[3.0, 4.0]]))
    array([5.])
    """

    name: ClassVar[str] = "sphere"

    def fit_class(self, suspects: Floats, anchors: Floats) -> Callable[[Floats], Floats]:
        """Return the distance from the anchors' mean; suspects are not used."""
        mean = anchors.mean(0)

        def score(features: Floats) -> Floats:
            distance: Floats = np.linalg.norm(features - mean, axis=1)
            return distance

        return score
