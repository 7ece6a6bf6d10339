"""Certificates against every change of the pixels within a box."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from molehunt.defences._bounded_network import BoundedNetwork, read_network
from molehunt.defences._interval_bounds import (
    interval_bounds,
    least_by_intervals,
    margins_of,
    pixel_box,
)
from molehunt.defences._linear_bounds import crown_bounds, least_by_lines
from molehunt.defences._operations import Interval
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent


class BoundMethod(StrEnum):
    """How a network's logits are bounded: each is at least as tight as the one before."""

    IBP = "ibp"  # intervals all the way
    CROWN_IBP = "crown-ibp"  # lines from the logits, intervals for every layer before
    CROWN = "crown"  # lines for every layer


@dataclass(frozen=True)
class BoxCertificates:
    """What holds for every image within `epsilon` a pixel of each image.

    Parameters
    ----------
    method : BoundMethod
    epsilon : float
        Largest change of a pixel in [0, 1].
    labels : Tensor of int64 [N]
    predictions : Tensor of int64 [N]
        Of the images as they are.
    margins : Tensor of float32 [N, K]
        Lower bounds of the label's logit over each class's; 0 for the label itself.
    """

    method: BoundMethod
    epsilon: float
    labels: Tensor
    predictions: Tensor
    margins: Tensor

    @property
    def correct(self) -> Tensor:
        """Whether each image as it is gets its label, bool [N]."""
        return self.predictions == self.labels

    @property
    def certified(self) -> Tensor:
        """Whether each image gets its label whatever the change, bool [N]."""
        others = self.margins.scatter(1, self.labels[:, None], torch.inf)
        return (others > 0).all(1) & self.correct


@torch.no_grad()
def certify_box(
    model: Classifier,
    images: ImageSet,
    *,
    epsilon: float,
    method: BoundMethod | str = BoundMethod.CROWN_IBP,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> BoxCertificates:
    """Certify that no change of at most `epsilon` a pixel takes images their labels.

    The classifier's normalisation is part of what is bounded, and changed pixels stay in
    [0, 1]. Bounds are computed in float32: they are no proof against its rounding, whose
    errors are about a millionth of a logit's size.

    Parameters
    ----------
    model : Classifier
        With weights and layers that `read_network` knows; used in evaluation mode.
    images : ImageSet
        Of the model's shape, labelled.
    epsilon : float
        In [0, 1].
    method : BoundMethod
    batch_size : int, optional
        Images at once: 100, and 4 for CROWN, whose memory grows with it.
    progress : callable
        Called with the images done and their total.

    Raises
    ------
    InvalidRequestError
        If epsilon or the method is none, or the images do not fit the model.
    UnsuitableSubjectError
        As `read_network`; also if bounds are not finite numbers.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> model = build_classifier("strided", digits, seed=0)
    >>> found = certify_box(model, digits, epsilon=0.01, method="ibp")
    >>> bool((found.certified <= found.correct).all())
    True
    """
    method = parse_method(method)
    check_epsilon(epsilon)
    check_images(model, images)
    network = read_network(model)
    was_training = model.training
    model.eval()
    pixels = images.pixels().to(model.mean.device)
    size = batch_size or (4 if method is BoundMethod.CROWN else 100)
    predictions, margins = [], []
    for batch, labels in zip(pixels.split(size), images.labels.split(size), strict=True):  # type: ignore[no-untyped-call]
        bounds = least_margins(network, pixel_box(batch, epsilon), labels.to(batch.device), method)
        predictions.append(model(batch).argmax(1).cpu())
        margins.append(bounds.cpu())
        progress(sum(map(len, margins)), len(images))
    model.train(was_training)
    found = torch.cat(margins)
    if not bool(found.isfinite().all()):
        raise UnsuitableSubjectError(mismatch("bounds", "finite numbers", "others"))
    return BoxCertificates(method, epsilon, images.labels, torch.cat(predictions), found)


def least_margins(
    network: BoundedNetwork, box: Interval, labels: Tensor, method: BoundMethod
) -> Tensor:
    """Return lower bounds [N, K] of the labels' margins over each class."""
    margins = margins_of(labels, network.num_classes)
    found = [interval_bounds(network, box)]
    if method is BoundMethod.CROWN:
        found.append(crown_bounds(network, box))
    least = [least_by_intervals(network, bounds, margins) for bounds in found]
    if method is not BoundMethod.IBP:
        least += [least_by_lines(network, bounds, margins) for bounds in found]
    best = torch.stack(least).amax(0)
    return best.view(network.num_classes, len(labels)).T


def parse_method(method: BoundMethod | str) -> BoundMethod:
    """Return the method of that name.

    Raises
    ------
    InvalidRequestError
    """
    if method not in [*BoundMethod]:
        raise InvalidRequestError(mismatch("`method`", ", ".join(BoundMethod), repr(method)))
    return BoundMethod(method)


def check_epsilon(epsilon: float) -> None:
    """Refuse a change that is none of pixels in [0, 1].

    Raises
    ------
    InvalidRequestError
    """
    if not 0 <= epsilon <= 1:
        allowed = "a number in [0, 1], as pixels are (8 of 255 is 0.0314)"
        raise InvalidRequestError(mismatch("`epsilon`", allowed, epsilon))


def check_images(model: Classifier, images: ImageSet) -> None:
    """Refuse images that do not fit the model, and none at all.

    Raises
    ------
    InvalidRequestError
    """
    if not len(images) or images.shape != model.card.input_shape:
        allowed = f"1 or more of shape {model.card.input_shape}"
        raise InvalidRequestError(
            mismatch("images to certify", allowed, f"{len(images)} of shape {images.shape}")
        )
    if images.num_classes != model.card.num_classes:
        allowed = f"the model's {model.card.num_classes}"
        raise InvalidRequestError(mismatch("classes of the images", allowed, images.num_classes))
