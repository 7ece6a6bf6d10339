"""Spectral signatures (Tran, Li and Madry, 2018): poison along the first singular vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from molehunt.arrays import Floats
from molehunt.defences._data_filter import FeatureFilter


class SpectralSignatures(FeatureFilter):
    """Scores features by their square along the first singular vector of their class.

    Algorithm 1 of the paper; the share that it removes (1.5 times an assumed poison rate) is
    replaced by the stated rate of false alarms. Where half of a class is poisoned, clean and
    poisoned images lie equally far from the mean, and the method sees nothing.

    References
    ----------
    Tran, Li, Madry: Spectral Signatures in Backdoor Attacks, NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from molehunt.defences import SpectralSignatures
    >>> rng = np.random.default_rng(0)
    >>> clean, poison = rng.normal(size=(200, 20)), rng.normal(size=(20, 20)) + 5
    >>> score = SpectralSignatures().fit_class(np.r_[clean, poison], clean)
    >>> bool(np.median(score(poison)) > score(clean).max())
    True
    """

    name: ClassVar[str] = "spectral-signatures"

    def fit_class(self, suspects: Floats, anchors: Floats) -> Callable[[Floats], Floats]:
        """Return the squared projection; anchors are not used."""
        mean = suspects.mean(0)
        first = np.linalg.svd(suspects - mean, full_matrices=False)[2][0]

        def score(features: Floats) -> Floats:
            along: Floats = ((features - mean) @ first) ** 2
            return along

        return score
