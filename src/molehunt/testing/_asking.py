"""What a model answers to images that fit it."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, Queried, Reveals, logits_of


def labels_of(model: Classifier, images: Tensor) -> Tensor:
    """Return the model's labels, int64 [N] on the CPU, of uint8 images [N, C, H, W].

    Raises
    ------
    UnsuitableSubjectError
        If an answer is not finite.
    """
    return Queried(model, reveals=Reveals.LABELS).judge(images).cpu()


def finite_logits(model: Classifier, images: Tensor) -> Tensor:
    """Return the model's logits, float32 [N, K] on the CPU, of uint8 images [N, C, H, W].

    Raises
    ------
    UnsuitableSubjectError
        If one is not finite.
    """
    logits = logits_of(model, images)
    if not bool(torch.isfinite(logits).all()):
        raise UnsuitableSubjectError("the model's answers are not finite (NaN or infinity)")
    return logits


def check_images(model: Classifier, clean: ImageSet) -> None:
    """Refuse images that are none, or of another shape or other classes than the model's.

    Raises
    ------
    InvalidRequestError
    """
    card = model.card
    if not len(clean):
        raise InvalidRequestError(mismatch("clean images", "1 or more", 0))
    if clean.shape != card.input_shape:
        raise InvalidRequestError(mismatch("images", f"shape {card.input_shape}", clean.shape))
    if clean.num_classes != card.num_classes:
        got = clean.num_classes
        raise InvalidRequestError(mismatch("classes of the images", card.num_classes, got))
