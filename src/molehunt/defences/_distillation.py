"""Defensive distillation: a student of a softened teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier
from molehunt.training import Batch


class DefensiveDistillation:
    """The loss of defensive distillation (Papernot et al., 2016), for `molehunt.training.train`.

    Train the teacher with it, without a teacher: cross entropy of softened labels. Then train
    a student of the same kind with that teacher. As the temperature is 1 again when the student
    answers, its logits are large and the gradient of its softmax vanishes.

    Parameters
    ----------
    temperature : float
        By which logits are divided, from 1; 20 to 100 in the paper.
    teacher : Classifier, optional

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits, vgg = load_images("digits"), {"width": 4, "stages": [1, 1]}
    >>> teacher, student = (
    ...     build_classifier("vgg", digits.train, arguments=vgg, seed=seed) for seed in (0, 1)
    ... )
    >>> short = Recipe(epochs=1)
    >>> run = train(teacher, digits.train, short, seed=0, objective=DefensiveDistillation(20))
    >>> loss = DefensiveDistillation(20, teacher)
    >>> run = train(student, digits.train, short, seed=1, objective=loss)
    """

    def __init__(self, temperature: float = 100.0, teacher: Classifier | None = None) -> None:
        if not temperature >= 1:
            raise InvalidRequestError(mismatch("temperature", "1 or more", temperature))
        self.temperature = temperature
        self.teacher = None if teacher is None else teacher.freeze()

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        softened = model(batch.pixels).float() / self.temperature
        if self.teacher is None:
            return functional.cross_entropy(softened, batch.labels)
        with torch.no_grad():
            taught = (self.teacher(batch.pixels).float() / self.temperature).softmax(1)
        return functional.cross_entropy(softened, taught)
