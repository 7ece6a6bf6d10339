"""What litmus and noise patterns share: answers to images, pooled into features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.detectors._meta_classifier import MetaClassifier
from molehunt.detectors._stacking import stacks_of
from molehunt.errors import InvalidRequestError, refused
from molehunt.networks import Access, Classifier, pick_device

FeatureKind = Literal["log_softmax", "logits"]
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

    def responses(self, models: Sequence[Classifier]) -> Floats:
        """Return each model's answer to each pattern, [N, M, K], before pooling."""
        self._check_is_fitted("weights_")
        return self._answers(self._checked(models)).double().numpy()

    def pool(self, responses: Floats) -> Floats:
        """Return the features [N, F] of responses [N, M, K]."""
        return pooled(torch.as_tensor(responses), self.pooling).numpy()

    def check_learned(self) -> None:
        """Refuse patterns that are no images, and a head that does not fit the answers to them."""
        super().check_learned()
        patterns, shape = self.patterns_, self.input_shape_
        if patterns.shape[1:] != shape:
            allowed = f"images of {shape}, as input_shape_"
            raise InvalidRequestError(refused("shape of patterns_", allowed, patterns.shape))
        if patterns.min() < 0 or patterns.max() > 1:
            raise InvalidRequestError(refused("patterns_", "pixels in [0, 1]", "others"))
        self._check_settings()
        rows = len(patterns) if self.pooling == "concatenate" else 1
        features = rows * self.num_classes_
        if len(self.weights_) != features:
            got = self.weights_.shape
            raise InvalidRequestError(refused("shape of weights_", f"({features},)", got))

    def _features(self, models: Sequence[Classifier]) -> Floats:
        return self.pool(self._answers(models).double().numpy())

    def _answers(self, models: Sequence[Classifier]) -> Tensor:
        """Return log-softmax or logits [N, M, K] on the CPU, in the order of the models."""
        device = pick_device(self.device)
        patterns = torch.as_tensor(self.patterns_, dtype=torch.float32, device=device)
        answers = torch.empty(len(models), len(patterns), self.num_classes_)
        taken = (models[position] for position in range(len(models)))
        with torch.inference_mode():
            for stack in stacks_of(taken, device):
                answers[stack.positions] = as_features(stack.logits(patterns), self.features).cpu()
        return answers

    def _check_settings(self) -> None:
        if self.n_patterns < 1:
            raise InvalidRequestError(refused("n_patterns", "1 or more", self.n_patterns))
        for name, allowed in (("features", FeatureKind), ("pooling", Pooling)):
            value = getattr(self, name)
            if value not in get_args(allowed):
                raise InvalidRequestError(refused(name, " or ".join(get_args(allowed)), value))


def as_features(logits: Tensor, kind: FeatureKind) -> Tensor:
    """Return logits [..., K] as they are, or as log-softmax over the classes."""
    return logits.log_softmax(dim=-1) if kind == "log_softmax" else logits


def pooled(answers: Tensor, pooling: Pooling) -> Tensor:
    """Return features [N, F] of answers [N, M, K]: F is M * K, or K when pooled over M."""
    if pooling == "max":
        return answers.amax(dim=1)
    if pooling == "mean":
        return answers.mean(dim=1)
    return answers.flatten(1)
