"""Differential testing: the images on which models disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval
from molehunt.testing._asking import labels_of

Rate = tuple[float, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several models say of the same images.

    Parameters
    ----------
    names : tuple of str
        Of the models.
    class_names : tuple of str
        Of the images, and after them classes that only models know.
    labels : Tensor of int64, shape [N]
        What the images show.
    predictions : Tensor of int64, shape [M, N]
        What each model takes them for, in `class_names`.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: Tensor
    predictions: Tensor

    @property
    def disputed(self) -> Tensor:
        """Images, bool [N], for which the models have more than one label."""
        return (self.predictions != self.predictions[:1]).any(0)

    @property
    def disagreement(self) -> Rate:
        """The share of disputed images, with its exact 95 % interval."""
        return _rate(self.disputed)

    def accuracy(self, model: int) -> Rate:
        """Return the share of images that a model gets right, with its interval."""
        return _rate(self.predictions[model] == self.labels)

    def agreement(self, first: int, second: int) -> Rate:
        """Return the share of images that two models give one label, with its interval."""
        return _rate(self.predictions[first] == self.predictions[second])

    @property
    def alone(self) -> Tensor:
        """The model that stands alone against all others, int64 [N]; -1 where none does.

        Of two models none is alone.
        """
        same = (self.predictions[:, None] == self.predictions[None]).sum(1)
        alone = (same == 1) & ((same == len(self.names) - 1).sum(0) == len(self.names) - 1)
        found = torch.where(alone.any(0), alone.int().argmax(0), -1)
        return found if len(self.names) > 2 else torch.full_like(found, -1)


def compare_models(
    models: Mapping[str, Classifier], clean: ImageSet, *, progress: Progress = silent
) -> Comparison:
    """Ask several models about the same images.

    Parameters
    ----------
    models : mapping
        Two or more, by name. They may take images of other shapes and count classes in another
        order.
    clean : ImageSet
    progress : Progress
        In models.

    Raises
    ------
    InvalidRequestError
        If there is one model only, no image, or classes do not fit.
    UnsuitableSubjectError
        If an answer is not finite.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> softmax = {"hidden": []}
    >>> models = {
    ...     name: build_classifier("mlp", digits.train, arguments=softmax, seed=seed)
    ...     for seed, name in enumerate("ab")
    ... }
    >>> compared = compare_models(models, digits.test)
    >>> compared.predictions.shape, round(compared.disagreement[0] + compared.agreement(0, 1)[0], 6)
    (torch.Size([2, 450]), 1.0)
    """
    if len(models) < 2:
        raise InvalidRequestError(mismatch("models to compare", "2 or more", len(models)))
    if not len(clean):
        raise InvalidRequestError(mismatch("clean images", "1 or more", 0))
    names, rows = [*clean.class_names], []
    for number, model in enumerate(models.values()):
        answers = labels_of(model, clean.shaped(model.card.input_shape).images)
        rows.append(count_as(model, clean, names)[answers])
        progress(number + 1, len(models))
    return Comparison(tuple(models), tuple(names), clean.labels, torch.stack(rows))


def count_as(model: Classifier, clean: ImageSet, names: list[str]) -> Tensor:
    """Return where each of the model's classes stands in `names`, int64 [K].

    `names` begins with the classes of `clean`; what only the model knows is added.

    Raises
    ------
    InvalidRequestError
        If the classes cannot be matched.
    """
    one_each = ImageSet(
        clean.images[:1].expand(clean.num_classes, -1, -1, -1),
        torch.arange(clean.num_classes),
        clean.class_names,
    )
    known = one_each.named(model.card.class_names).labels.tolist()
    places = {theirs: mine for mine, theirs in enumerate(known)}
    for theirs, name in enumerate(model.card.class_names):
        if theirs not in places:
            if name not in names[clean.num_classes :]:
                names.append(name)
            places[theirs] = names.index(name, clean.num_classes)
    return torch.tensor([places[theirs] for theirs in range(model.card.num_classes)])


def _rate(hits: Tensor) -> Rate:
    count = int(hits.sum())
    return count / len(hits), rate_interval(count, len(hits))
