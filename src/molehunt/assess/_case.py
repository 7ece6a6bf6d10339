"""What all assessors share: the model, images for each use, and a purse of queries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from molehunt.attacks import Norm
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import (
    BudgetSpentError,
    Classifier,
    Queried,
    Reveals,
    logits_of,
    most_revealed,
)
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval
from molehunt.zoo import Zoo

_MOST_ATTACKED, _MOST_HELD, _MOST_MEMBERS, _FEWEST = 200, 500, 2000, 10
_FEWEST_SHADOWS = 4  # two with each image, and two without


@dataclass(frozen=True, eq=False)
class Case:
    """A model under assessment, and the images that attackers and measurers have.

    Parameters
    ----------
    model : Classifier
    reveals : Reveals
        The most that an attacker sees; each attack takes no more than it needs.
    attacked : ImageSet
        Images that attacks change, at most 200.
    held : ImageSet
        Others, on which results are measured, at most 500.
    pool : ImageSet
        The rest: what an attacker has at hand.
    members : ImageSet, optional
        Images that the model was trained on.
    shadows : int
        Shadow models that an attacker on membership trains.
    population : Zoo, optional
        Models whose training data an attacker knows.
    seed : int
        Of all random draws.
    """

    model: Classifier
    reveals: Reveals
    attacked: ImageSet
    held: ImageSet
    pool: ImageSet
    members: ImageSet | None = None
    shadows: int = 0
    population: Zoo | None = None
    seed: int = 0

    @cached_property
    def right(self) -> ImageSet:
        """The attacked images that the model takes for what they show."""
        return self.attacked.take(self._predictions(self.attacked) == self.attacked.labels)

    @cached_property
    def said_of_held(self) -> Tensor:
        """What the model takes the held images for, int64 [N]; asked once, not of any budget."""
        return self._predictions(self.held)

    @cached_property
    def clean_accuracy(self) -> tuple[float, tuple[float, float], int]:
        """The share of attacked and held images that it gets right, its interval, their number."""
        count = len(self.right) + int((self.said_of_held == self.held.labels).sum())
        of = len(self.attacked) + len(self.held)
        return count / of, rate_interval(count, of), of

    @cached_property
    def guesses(self) -> str:
        """Why the model is no classifier of these images; empty where it beats guessing."""
        labels = torch.cat([self.attacked.labels, self.held.labels])
        chance = float(labels.bincount().max()) / len(labels)
        rate, _, of = self.clean_accuracy
        count = round(rate * of)
        if binomtest(count, of, chance, "greater").pvalue < 0.01:
            return ""
        return (
            f"the model gets {count} of {of} clean images right, which guessing does, too "
            f"({chance:.0%}): there is nothing to take from it"
        )

    @property
    def without_weights(self) -> Reveals:
        """What an attacker sees who has no weights, only answers."""
        return Reveals.CONFIDENCES if self.reveals is Reveals.WEIGHTS else self.reveals

    def radius(self, norm: Norm) -> float:
        """Return the usual radius of attacks: 0.1 and 1.5 on grey images, 8/255 and 0.5 else."""
        grey = self.model.card.input_shape[0] == 1
        if norm is Norm.LINF:
            return 0.1 if grey else 8 / 255
        return 1.5 if grey else 0.5

    def _predictions(self, images: ImageSet) -> Tensor:
        return logits_of(self.model, images.images).argmax(1).cpu()


def new_case(
    model: Classifier,
    clean: ImageSet,
    *,
    members: ImageSet | None = None,
    shadows: int = 0,
    population: Zoo | None = None,
    reveals: Reveals | None = None,
    seed: int = 0,
) -> Case:
    """Deal the clean images to their uses: a quarter each, at most 200 and 500, and the rest.

    Raises
    ------
    InvalidRequestError
        If the images are too few, do not fit, the model does not reveal so much, or shadow models
        are not an even number from 4, or have no members.
    """
    able = most_revealed(model)
    reveals = able if reveals is None else reveals
    if not able.allows(reveals):
        raise InvalidRequestError(mismatch("`access`", f"at most {able}, by this model", reveals))
    if len(clean) < 4 * _FEWEST:
        allowed = f"{4 * _FEWEST} or more"
        raise InvalidRequestError(mismatch("number of `clean` images", allowed, len(clean)))

    def fit(images: ImageSet) -> ImageSet:
        return images.shaped(model.card.input_shape).named(model.card.class_names)

    if shadows and (members is None or shadows < _FEWEST_SHADOWS or shadows % 2):
        allowed = f"0, or an even number from {_FEWEST_SHADOWS} with `members`"
        got = f"{shadows} without" if members is None else shadows
        raise InvalidRequestError(mismatch("`shadows`", allowed, got))
    # Shadow models are trained on as many images as the model was.
    if members is not None and not shadows:
        members = members.sample(_MOST_MEMBERS, torch.Generator().manual_seed(seed))
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    attacked = min(_MOST_ATTACKED, len(clean) // 4)
    held = min(_MOST_HELD, len(clean) // 4)
    ends = (attacked, attacked + held)
    return Case(
        model=model,
        reveals=reveals,
        attacked=fit(clean.take(order[: ends[0]])),
        held=fit(clean.take(order[ends[0] : ends[1]])),
        # More than an attacker could ever ask about need not be decoded.
        pool=fit(clean.take(order[ends[1] : ends[1] + 10_000])),
        members=None if members is None else fit(members),
        shadows=shadows,
        population=population,
        seed=seed,
    )


class Purse:
    """The queries of one risk: every target that is asked takes from it.

    Parameters
    ----------
    model : Classifier
    queries : int
    progress : Progress
        Called with what was spent and `queries`.
    folder : Path, optional
        Where an unfinished risk may keep what was dear.
    """

    def __init__(
        self,
        model: Classifier,
        queries: int,
        progress: Progress = silent,
        folder: Path | None = None,
    ) -> None:
        self._model, self.queries, self._progress = model, queries, progress
        self.folder = folder
        self._targets: list[Queried] = []
        self._paid = 0

    @property
    def spent(self) -> int:
        """Queries so far."""
        return self._paid + sum(target.queries for target in self._targets)

    @property
    def left(self) -> int:
        """Queries that may still be asked."""
        return self.queries - self.spent

    def ask(self, reveals: Reveals, most: int | None = None, **settings: Any) -> Queried:
        """Return the model as an attacker has it, with what is left, or less, as its budget."""
        budget = self.left if most is None else min(most, self.left)
        target = Queried(self._model, reveals=reveals, budget=budget, **settings)
        self._targets.append(target)
        return target

    def pay(self, queries: int) -> None:
        """Take what was asked past a target, and show how far it is."""
        self._paid += queries
        self.tell()

    def tell(self, _done: int = 0, _total: int = 0) -> None:
        """Show how far it is; attacks call it."""
        self._progress(self.spent, self.queries)

    def check(self, needed: int, what: str) -> None:
        """Refuse a budget that does not suffice to begin.

        Raises
        ------
        BudgetSpentError
        """
        if self.left < needed:
            raise BudgetSpentError(
                f"{self.left} queries are too few: {what} takes {needed} at least"
            )
