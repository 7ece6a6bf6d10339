"""A model from its answers to images of the thief's choice: ask, train, ask again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.attacks._stolen import Stolen, new_copy
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import BudgetSpentError, Classifier, Queried, Reveals, logits_of
from molehunt.training import Batch, Recipe, train

_RECIPE = Recipe(epochs=40, batch_size=64, lr=0.005)


class Choice(StrEnum):
    """Which images a thief asks about."""

    RANDOM = "random"  # of the pool, or uniform noise where there is none
    UNCERTAIN = "uncertain"  # of the pool, where the copy's two best classes are closest
    LINE_SEARCH = "line-search"  # on lines between images that the target names differently


@dataclass(frozen=True)
class QueryAndTrain:
    """A copy that is trained on the target's answers.

    With a pool of images it is Knockoff (Orekondy, Schiele and Fritz, CVPR 2019) or Copycat
    (Correia-Silva et al., IJCNN 2018), with `Choice.UNCERTAIN` the adaptive retraining of Tramèr
    et al. (2016, section 6.2) over a pool, with `Choice.LINE_SEARCH` their line-search retraining.
    From confidences the copy learns probabilities (cross entropy with soft labels), from labels
    classes. The recipe's augmentation moves images under the same answer.

    Parameters
    ----------
    queries : int
    network : str
        The copy's architecture, of `molehunt.networks.NETWORKS`.
    arguments : mapping
        Its settings.
    pool : Tensor of uint8, shape [N, C, H, W], optional
        Images that the thief has, labels not needed.
    choice : Choice
    rounds : int
        Between which the copy chooses; of random images 1.
    recipe : Recipe
        Of the last training; earlier rounds take a quarter of its steps.
    seed : int

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range, or images are to be chosen and there are none.

    Examples
    --------
    >>> from molehunt.attacks import QueryAndTrain
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, build_classifier
    >>> digits, arguments = load_images("digits"), {"hidden": [8]}
    >>> target = Queried(build_classifier("mlp", digits.train, arguments=arguments, seed=0))
    >>> theft = QueryAndTrain(200, "mlp", arguments, pool=digits.train.images)
    >>> stolen = theft.steal(target)
    >>> stolen.queries
    200
    """

    queries: int
    network: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pool: Tensor | None = None
    choice: Choice = Choice.RANDOM
    rounds: int = 5
    recipe: Recipe = _RECIPE
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("queries", "rounds"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(mismatch(name, "1 or more", getattr(self, name)))
        if self.pool is None and Choice(self.choice) is Choice.UNCERTAIN:
            raise InvalidRequestError(mismatch("pool", "images to choose of", "none"))

    def steal(self, target: Queried) -> Stolen:
        """Ask and train, and return the copy; a spent budget keeps what was asked.

        Raises
        ------
        InvalidRequestError
            If the pool's images do not fit the target, or are fewer than `queries`.
        BudgetSpentError
            If the budget does not suffice for a first round.
        """
        self._check_pool(target)
        started, asked = time.perf_counter(), target.queries
        generator = torch.Generator().manual_seed(self.seed)
        rounds = 1 if Choice(self.choice) is Choice.RANDOM else self.rounds
        ends = [round(self.queries * (n + 1) / rounds) for n in range(rounds)]
        free = torch.randperm(0 if self.pool is None else len(self.pool), generator=generator)
        images = torch.zeros(0, *target.input_shape, dtype=torch.uint8)
        answers, note = torch.zeros(0, target.num_classes), ""
        model: Classifier | None = None
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            new, free = self._choose(target, model, images, answers, free, end - start, generator)
            try:
                given = self._ask(target, new)
            except BudgetSpentError as error:
                if not len(images):
                    raise
                note = f"{error}; the copy is of {len(images)} answers"
                break
            images, answers = torch.cat([images, new]), torch.cat([answers, given])
            if number < rounds - 1:
                model = self._train(target, images, answers, share=0.25)
        model = self._train(target, images, answers)
        return Stolen(model.freeze(), target.queries - asked, time.perf_counter() - started, note)

    def _check_pool(self, target: Queried) -> None:
        if self.pool is None:
            return
        fits = self.pool.dtype == torch.uint8 and self.pool.shape[1:] == target.input_shape
        if not fits or len(self.pool) < self.queries:
            allowed = f"{self.queries} or more uint8 images of shape {target.input_shape}"
            got = f"{self.pool.dtype} of shape {tuple(self.pool.shape)}"
            raise InvalidRequestError(mismatch("pool", allowed, got))

    def _choose(
        self,
        target: Queried,
        model: Classifier | None,
        images: Tensor,
        answers: Tensor,
        free: Tensor,
        count: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return the images of a round, uint8, and the places of the pool that are left."""
        choice = Choice(self.choice)
        if choice is Choice.LINE_SEARCH and model is not None:
            return _between(model, images, answers.argmax(1), count, generator), free
        if self.pool is None:
            shape = (count, *target.input_shape)
            return torch.randint(256, shape, generator=generator, dtype=torch.uint8), free
        if choice is Choice.UNCERTAIN and model is not None:
            best = logits_of(model, self.pool[free]).softmax(1).topk(2, dim=1).values
            free = free[(best[:, 0] - best[:, 1]).argsort()]
        return self.pool[free[:count]], free[count:]

    def _ask(self, target: Queried, images: Tensor) -> Tensor:
        pixels = images.float().div_(255)
        if target.reveals is Reveals.LABELS:
            return functional.one_hot(target.predict(pixels), target.num_classes).float().cpu()
        return target.confidences(pixels).float().cpu()

    def _train(
        self, target: Queried, images: Tensor, answers: Tensor, share: float = 1.0
    ) -> Classifier:
        """Return a new copy, trained on the answers."""
        model = new_copy(target, self.network, self.arguments, self.seed)
        shown = ImageSet(images, answers.argmax(1), target.class_names)
        # The recipe's epochs are of all questions.
        epochs = self.recipe.epochs * self.queries / len(images) * share
        recipe = self.recipe.model_copy(
            update={"epochs": epochs, "batch_size": min(self.recipe.batch_size, len(images))}
        )
        objective = _SoftLabels(answers.to(target.device))
        train(model, shown, recipe, seed=self.seed, objective=objective, device=target.device)
        return model


class _SoftLabels:
    """Cross entropy with the target's answers."""

    def __init__(self, answers: Tensor) -> None:
        self._shares = answers / answers.sum(1, keepdim=True).clamp_min(1e-6)

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        return functional.cross_entropy(model(batch.pixels).float(), self._shares[batch.places])


def _between(
    model: Classifier, images: Tensor, labels: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Return images where the copy changes its mind, on lines between images of the target's."""
    one, other = torch.randint(len(images), (2, count), generator=generator)
    start, end = images[one].float(), images[other].float()
    for _ in range(8):
        middle = (start + end) / 2
        same = logits_of(model, middle.round().to(torch.uint8)).argmax(1) == labels[one]
        keep = same.view(-1, 1, 1, 1)
        start, end = torch.where(keep, middle, start), torch.where(keep, end, middle)
    return ((start + end) / 2).round().to(torch.uint8)
