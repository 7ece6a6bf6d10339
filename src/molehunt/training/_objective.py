"""What a training minimises."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor
from torch.nn import functional

from molehunt.networks import Classifier


class Batch(NamedTuple):
    """What a step learns from, on the model's device."""

    pixels: Tensor  # float32 [N, C, H, W] in [0, 1], augmented and stamped
    labels: Tensor  # int64 [N], those that are trained on
    stamped: Tensor  # bool [N], which images have a trigger
    places: Tensor  # int64 [N], where in the training set the images stand


class Objective(Protocol):
    """The loss of a training, for attacks and defences that are more than data.

    An attacker who evades a detector adds a penalty; adversarial training changes the pixels
    first; an input-aware backdoor draws its triggers here, by networks and optimisers that are
    the objective's own.
    """

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the loss, a scalar with a gradient.

        `model` is in training mode, and bfloat16 autocast is on where the recipe asks for it.
        """


class CrossEntropy:
    """Cross entropy with label smoothing, what is minimised when nothing else is asked for."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        logits: Tensor = model(batch.pixels)
        return functional.cross_entropy(
            logits.float(), batch.labels, label_smoothing=self.label_smoothing
        )
