"""Was an image in the training set? What every attack on membership asks and checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Queried, Reveals

_SMALLEST = torch.finfo(torch.float32).tiny


class MembershipAttack(Protocol):
    """Guesses which images a model was trained on."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def needs(self) -> Reveals:
        """The least that the target must reveal."""

    def score(self, target: Queried, images: Tensor, labels: Tensor) -> Tensor:
        """Return a number an image, float64 [N]: the higher, the more probably a member.

        Parameters
        ----------
        target : Queried
            Every image that it is asked about is counted.
        images : Tensor of uint8, shape [N, C, H, W]
        labels : Tensor of int64, shape [N]
            The true ones.

        Raises
        ------
        InvalidRequestError
            If images and labels do not fit the target or each other.
        UnsuitableSubjectError
            If the target reveals too little.
        BudgetSpentError
            If the budget does not suffice for all images; it was then asked about some.
        """


@dataclass(frozen=True)
class LossThreshold:
    """Members have a smaller loss (Yeom, Giacomelli, Fredrikson and Jha, CSF 2018).

    It needs no shadow models, and finds hardly any member at few false positives: images that
    are easy have a small loss, too, whether the model saw them or not. The score is minus the
    loss: the logarithm of the confidence in the true class.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, build_classifier
    >>> digits = load_images("digits").test
    >>> target = Queried(build_classifier("mlp", digits, arguments={"hidden": [8]}, seed=0))
    >>> LossThreshold().score(target, digits.images, digits.labels).shape, target.queries
    (torch.Size([450]), 450)
    """

    name = "loss-threshold"
    needs = Reveals.ROUNDED

    def score(self, target: Queried, images: Tensor, labels: Tensor) -> Tensor:
        """Return minus the loss of each image, float64 [N]; see `MembershipAttack`."""
        return ask_shares(target, images, labels).own[:, 0].clamp_min(_SMALLEST).log()


class Shares(NamedTuple):
    """What a model gives the true class, and all others together, float64 [N, V]."""

    own: Tensor
    others: Tensor

    def scaled(self, smallest: float = _SMALLEST) -> Tensor:
        """Return the logit of the confidence in the true class, float64 [N, V].

        Carlini et al. (S&P 2022) scale so because its values are nearly normal over
        models. What is smaller than `smallest` counts as that: rounded confidences, and those
        of trees, are often 0.
        """
        return self.own.clamp_min(smallest).log() - self.others.clamp_min(smallest).log()


def ask_shares(target: Queried, images: Tensor, labels: Tensor, shift: int = 0) -> Shares:
    """Return what the target gives the true class of each image, and of its moved copies.

    The others' sum is exact where the confidence itself is rounded to 1. V is 1 without a `shift`
    and else 5; each view of an image is a query.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError, BudgetSpentError
        As `MembershipAttack.score`.
    """
    check_candidates(target, images, labels, Reveals.ROUNDED)
    own, others = [], []
    for view in moved_views(images, shift):
        parts = [target.confidences(part.float().div_(255)).cpu() for part in view.split(1000)]  # type: ignore[no-untyped-call]
        confidences = torch.cat(parts).double()
        own.append(confidences.gather(1, labels[:, None])[:, 0])
        others.append(confidences.scatter(1, labels[:, None], 0.0).sum(1))
    return Shares(torch.stack(own, dim=1), torch.stack(others, dim=1))


def moved_views(images: Tensor, shift: int) -> Iterator[Tensor]:
    """Yield images as they are, and moved by so many pixels up, down, left and right.

    The border that comes free is black, as where the recipe of a training moves images.

    Raises
    ------
    InvalidRequestError
        If images would be moved out of sight.
    """
    height, width = images.shape[2:]
    if not 0 <= shift < min(height, width):
        raise InvalidRequestError(mismatch("shift", f"0 to {min(height, width) - 1}", shift))
    yield images
    if shift:
        padded = functional.pad(images, (shift,) * 4)
        for row, column in ((0, 1), (2, 1), (1, 0), (1, 2)):
            yield padded[
                :, :, row * shift : row * shift + height, column * shift : column * shift + width
            ]


def check_candidates(target: Queried, images: Tensor, labels: Tensor, needs: Reveals) -> None:
    """Refuse images and labels that an attack on membership cannot ask about.

    Raises
    ------
    InvalidRequestError
        If they are not uint8 images of the target's shape with a label of its classes each.
    UnsuitableSubjectError
        If the target reveals less than the attack needs.
    """
    if not target.reveals.allows(needs):
        raise UnsuitableSubjectError(
            f"the target reveals its {target.reveals.value} only; this attack on membership "
            f"needs {'confidences' if needs is Reveals.ROUNDED else needs.value}"
        )
    if images.dtype != torch.uint8 or images.shape[1:] != target.input_shape or not len(images):
        allowed = f"uint8 of shape [N, {', '.join(map(str, target.input_shape))}], N at least 1"
        got = f"{images.dtype} of shape {tuple(images.shape)}"
        raise InvalidRequestError(mismatch("images", allowed, got))
    fits = labels.dtype == torch.int64 and labels.shape == images.shape[:1]
    if not fits or not 0 <= int(labels.min()) <= int(labels.max()) < target.num_classes:
        allowed = f"int64 of shape [{len(images)}], 0 to {target.num_classes - 1}"
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        if fits:
            got = f"{int(labels.min())} to {int(labels.max())}"
        raise InvalidRequestError(mismatch("labels", allowed, got))
