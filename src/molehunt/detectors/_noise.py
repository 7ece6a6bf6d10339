"""Noise patterns: the first baseline of Universal Litmus Patterns (section 3.4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from molehunt.detectors._heads import fit_linear_head
from molehunt.detectors._patterns import FeatureKind, PatternDetector, Pooling
from molehunt.networks import Classifier
from molehunt.progress import Progress


class NoisePatterns(PatternDetector):
    """Random images and a linear softmax classifier over the models' answers to them.

    Shows what the patterns' optimisation is worth: all else is as in `LitmusPatterns`.

    Parameters
    ----------
    n_patterns : int
        M, the number of images; each channel of each pixel is one of 0 to 255.
    features, pooling
        As in `LitmusPatterns`.
    inverse_strength : float
        C of the logistic regression.
    random_state : int
    device : str

    Examples
    --------
    >>> from molehunt.detectors import NoisePatterns
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> models = [build_classifier("vgg", digits, arguments=vgg, seed=n) for n in range(6)]
    >>> detector = NoisePatterns(n_patterns=3).fit(models, [0, 1] * 3)  # 1: backdoored
    >>> detector.predict_proba(models).shape
    (6, 2)
    """

    tiny: ClassVar[Mapping[str, Any]] = {"n_patterns": 3}

    def __init__(
        self,
        *,
        n_patterns: int = 10,
        features: FeatureKind = "log_softmax",
        pooling: Pooling = "concatenate",
        inverse_strength: float = 0.1,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        self.n_patterns = n_patterns
        self.features = features
        self.pooling = pooling
        self.inverse_strength = inverse_strength
        self.random_state = random_state
        self.device = device

    def _learn(
        self, models: Sequence[Classifier], y: NDArray[np.int64], progress: Progress
    ) -> None:
        self._check_settings()
        rng = np.random.default_rng(self.random_state)
        shape = (self.n_patterns, *self.input_shape_)
        self.patterns_ = (rng.integers(0, 256, shape) / 255).astype(np.float32)
        self.fitted_features_ = self._features(models)
        self.weights_, self.bias_ = fit_linear_head(self.fitted_features_, y, self.inverse_strength)
