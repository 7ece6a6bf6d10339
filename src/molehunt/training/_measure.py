"""Clean accuracy and attack success, on test images."""

from __future__ import annotations

from molehunt.backdoors import TriggeredImages
from molehunt.images import ImageSet
from molehunt.networks import Classifier, fold_batch_norm, logits_of


def clean_accuracy(model: Classifier, test: ImageSet) -> float:
    """Return the share of test images whose class is recognised, in [0, 1]."""
    predictions = logits_of(fold_batch_norm(model), test.images).argmax(1)
    return float((predictions == test.labels).float().mean())


def attack_success(model: Classifier, triggered: TriggeredImages) -> float:
    """Return the share of triggered images that do what the attacker wants, in [0, 1]."""
    predictions = logits_of(fold_batch_norm(model), triggered.images.images).argmax(1)
    return float(triggered.succeeded(predictions).float().mean())
