"""What litmus and noise patterns share: answers to images, pooled into features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.detectors._meta_classifier import MetaClassifier
from molehunt.detectors._stacking import Stack, stacks_of
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.findings import Bars, Exhibit, Picture
from molehunt.networks import Access, Classifier, pick_device

FeatureKind = Literal["log_softmax", "logits"]
# A page must open.
_SHOWN_PATTERNS = 20

Pooling = Literal["concatenate", "max", "mean"]


class PatternDetector(MetaClassifier):
    """A detector that feeds M patterns to a model and classifies its pooled answers.

    Attributes
    ----------
    patterns_ : array of float32, shape [M, C, H, W]
        Pixels in [0, 1].
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})

    learned = MetaClassifier.learned | {"patterns_"}
    axes: ClassVar[Mapping[str, str]] = {**MetaClassifier.axes, "patterns_": "MCHW"}

    n_patterns: int
    features: FeatureKind
    pooling: Pooling
    device: str

    def exhibits(self) -> tuple[Picture, ...]:
        """Return the patterns."""
        self._check_is_fitted("weights_")
        return tuple(
            Picture(f"pattern {number}", np.asarray(pattern))
            for number, pattern in enumerate(self.patterns_[:_SHOWN_PATTERNS], 1)
        )

    def _draw(self, features: Floats) -> tuple[Exhibit, ...]:
        """Return a model's answers to each pattern, those farthest from clean models first."""
        # The clean models' answers to each pattern are kept only when they were concatenated.
        if self.pooling != "concatenate" or not self.is_calibrated:
            return ()
        answers = features.reshape(len(self.patterns_), -1)
        clean = np.asarray(self.calibration_features_)
        clean = clean.reshape(len(clean), *answers.shape)
        spread = clean.std(axis=0) + 1e-6
        strange = np.abs((answers - clean.mean(axis=0)) / spread).max(axis=1)
        usual = np.quantile(clean, [0.025, 0.5, 0.975], axis=0)
        return tuple(
            Bars(
                f"pattern {m + 1}",
                np.asarray(self.patterns_[m]),
                answers[m],
                usual[:, m],
                "log probability" if self.features == "log_softmax" else "logit",
            )
            for m in np.argsort(-strange)[:_SHOWN_PATTERNS].tolist()
        )

    def check_learned(self) -> None:
        """Refuse patterns that are no images, and a head that does not fit the answers to them."""
        super().check_learned()
        patterns, shape = self.patterns_, self.input_shape_
        if patterns.shape[1:] != shape:
            allowed = f"images of {shape}, as input_shape_"
            raise InvalidRequestError(mismatch("shape of patterns_", allowed, patterns.shape))
        if patterns.min() < 0 or patterns.max() > 1:
            raise InvalidRequestError(mismatch("patterns_", "pixels in [0, 1]", "others"))
        self._check_settings()
        rows = len(patterns) if self.pooling == "concatenate" else 1
        features = rows * self.num_classes_
        if len(self.weights_) != features:
            got = self.weights_.shape
            raise InvalidRequestError(mismatch("shape of weights_", f"({features},)", got))

    def _features(self, models: Sequence[Classifier]) -> Floats:
        taken = (models[position] for position in range(len(models)))
        return self._features_of(stacks_of(taken, pick_device(self.device)), len(models))

    def _features_of(self, stacks: Iterable[Stack], count: int) -> Floats:
        """Return the features [N, F] of `count` stacked models, in their order."""
        device = pick_device(self.device)
        patterns = torch.as_tensor(self.patterns_, dtype=torch.float32, device=device)
        responses = torch.empty(count, len(patterns), self.num_classes_)
        with torch.inference_mode():
            for stack in stacks:
                logits = stack.logits(patterns)
                responses[stack.positions] = as_features(logits, self.features).cpu()
        return pool(responses.double(), self.pooling).numpy()

    def _check_settings(self) -> None:
        if self.n_patterns < 1:
            raise InvalidRequestError(mismatch("n_patterns", "1 or more", self.n_patterns))
        for name, allowed in (("features", FeatureKind), ("pooling", Pooling)):
            value = getattr(self, name)
            if value not in get_args(allowed):
                raise InvalidRequestError(mismatch(name, " or ".join(get_args(allowed)), value))


def as_features(logits: Tensor, kind: FeatureKind) -> Tensor:
    """Return logits [..., K] as they are, or as log-softmax over the classes."""
    return logits.log_softmax(dim=-1) if kind == "log_softmax" else logits


def pool(responses: Tensor, pooling: Pooling) -> Tensor:
    """Return features [N, F] of responses [N, M, K]: F is M * K, or K when pooled over M."""
    if pooling == "max":
        return responses.amax(dim=1)
    if pooling == "mean":
        return responses.mean(dim=1)
    return responses.flatten(1)
