"""What every repair of a model gives, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier
from molehunt.progress import Progress
from molehunt.training import Recipe

# Small steps from weights that are good already.
TUNING = Recipe(epochs=10, batch_size=64, lr=1e-3, weight_decay=0.0)


@dataclass(frozen=True)
class Repaired:
    """A repaired model and what was done to it.

    Parameters
    ----------
    model : Classifier
    done : str
        What was done, in words.
    accuracies : (before, after)
        Shares of held-out clean images that are recognised.
    """

    model: Classifier
    done: str
    accuracies: tuple[float, float]


class RepairMethod(Protocol):
    """Takes a backdoor out of a model, with a few clean images; see `REPAIRS`."""

    def __call__(
        self,
        model: Classifier,
        clean: ImageSet,
        *,
        seed: int,
        progress: Progress,
    ) -> Repaired:
        """Return a repaired copy.

        Parameters
        ----------
        model : Classifier
            Left as it was.
        clean : ImageSet
            Labelled images of the model's own shape and classes, 40 or more. Every fourth
            one is held out for the accuracies.
        seed : int
            Of the order of images.
        progress : callable
            Called with the steps done and their total.

        Raises
        ------
        InvalidRequestError
            If there are too few images, or they do not fit.
        UnsuitableSubjectError
            If the model's weights cannot be changed here, or it lacks a layer that is needed.
        """


def split_for_repair(model: Classifier, clean: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Return the images that a repair learns from, and those that are held out.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `RepairMethod`.
    """
    if Access.WEIGHTS not in model.gives or not model.stackable:
        raise UnsuitableSubjectError(
            mismatch("model to repair", "weights in a known architecture", "a graph or a black box")
        )
    if len(clean) < 40:
        raise InvalidRequestError(mismatch("clean images", "40 or more", len(clean)))
    held = torch.arange(len(clean)) % 4 == 3
    return clean.take(~held), clean.take(held)


def longest_prefix(most: int, holds: Callable[[int], bool]) -> int:
    """Return the largest number up to `most` that holds; 0 always does, and all below it.

    Examples
    --------
    >>> longest_prefix(10, lambda count: count <= 7)
    7
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
