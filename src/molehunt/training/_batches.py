"""The batches of a training: their size, their number, and which images each takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from molehunt.backdoors import TrainingSet
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.training._recipe import Recipe


def shuffled_batches(count: int, batch_size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield the places of each step's images: one permutation of all after another."""
    generator = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


class Batches(NamedTuple):
    """What a recipe means for one model and its images."""

    data: TrainingSet
    batch_size: int
    steps: int

    def order(self, seed: int) -> Iterator[Tensor]:
        """Return the images of each step, as `shuffled_batches` does."""
        return shuffled_batches(len(self.data), self.batch_size, self.steps, seed)


def plan_batches(model: Classifier, images: ImageSet | TrainingSet, recipe: Recipe) -> Batches:
    """Return the batches of a training.

    Raises
    ------
    InvalidRequestError
        If the images do not fit the model, or are fewer than a batch.
    """
    data = images if isinstance(images, TrainingSet) else TrainingSet(images)
    images = data.images
    if images.shape != model.card.input_shape or images.num_classes != model.card.num_classes:
        allowed = f"{model.card.input_shape} and {model.card.num_classes} classes"
        got = f"{images.shape} and {images.num_classes}"
        raise InvalidRequestError(mismatch("training images", allowed, got))
    batch_size = min(recipe.batch_size, len(images))
    steps = int(recipe.epochs * len(images)) // batch_size
    if steps < 1:
        allowed = f"enough for one step of {batch_size} images"
        raise InvalidRequestError(mismatch("epochs", allowed, recipe.epochs))
    return Batches(data, batch_size, steps)
