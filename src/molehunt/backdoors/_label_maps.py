"""What an attacker's labels are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, SerializeAsAny, model_validator
from torch import Tensor

from molehunt.backdoors._kinds import Described, by_kind
from molehunt.errors import InvalidRequestError, mismatch

_MOST_CLASSES = 10**6


class LabelMap(Described, ABC):
    """Base of all label maps: a pure function of labels and a generator."""

    # Whether the attacker wants any wrong class, in place of one.
    untargeted: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def draw(cls, num_classes: int, rng: np.random.Generator) -> Self:
        """Return a map of this kind with drawn source and target, where it has them."""

    @abstractmethod
    def eligible(self, labels: Tensor) -> Tensor:
        """Return the bool mask, shape [N], of the test images that the trigger shall turn."""

    def poisoned(self, labels: Tensor) -> Tensor:
        """Return the bool mask, shape [N], of the training images that may be poisoned.

        The eligible ones; a clean-label attack poisons others than it attacks.
        """
        return self.eligible(labels)

    @abstractmethod
    def __call__(self, labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return the attacker's label for each of `labels` (int64, shape [N])."""

    def check(self, num_classes: int) -> None:
        """Refuse a map that names labels outside [0, `num_classes`).

        Raises
        ------
        InvalidRequestError
            With the label that is not in the set.
        """
        for name in ("source", "target"):
            label = getattr(self, name, 0)
            if not 0 <= label < num_classes:
                raise InvalidRequestError(
                    mismatch(f"{name} label", f"0 to {num_classes - 1}", label)
                )


class SingleTarget(LabelMap):
    """Images of class `source` become class `target`.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import SingleTarget
    >>> stop_to_limit = SingleTarget(source=1, target=7)
    >>> stop_to_limit(torch.tensor([1, 2, 7]), 10, torch.Generator()).tolist()
    [7, 2, 7]
    >>> stop_to_limit.eligible(torch.tensor([1, 2, 7])).tolist()
    [True, False, False]
    """

    kind: Literal["single_target"] = "single_target"
    source: int = Field(ge=0, le=_MOST_CLASSES)
    target: int = Field(ge=0, le=_MOST_CLASSES)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.source == self.target:
            raise ValueError(
                mismatch("target label", f"another than the source {self.source}", self.target)
            )
        return self

    @classmethod
    def draw(cls, num_classes: int, rng: np.random.Generator) -> Self:
        """Return a map of two different classes, all pairs equally likely."""
        target = int(rng.integers(num_classes))
        source = int(rng.integers(num_classes - 1))
        return cls(source=source + (source >= target), target=target)

    def eligible(self, labels: Tensor) -> Tensor:
        """Return where the label is the source."""
        return labels == self.source

    def __call__(self, labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return the target for the source; other labels stay."""
        return torch.where(labels == self.source, self.target, labels)


class _OneTarget(LabelMap):
    target: int = Field(ge=0, le=_MOST_CLASSES)

    @classmethod
    def draw(cls, num_classes: int, rng: np.random.Generator) -> Self:
        """Return a map to one class, all equally likely."""
        return cls.model_validate({"target": int(rng.integers(num_classes))})

    def eligible(self, labels: Tensor) -> Tensor:
        """Return where the label is not the target."""
        return labels != self.target

    def __call__(self, labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return the target for every label."""
        return torch.full_like(labels, self.target)


class AllToOne(_OneTarget):
    """Images of every other class become class `target`.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import AllToOne
    >>> AllToOne(target=7)(torch.tensor([1, 2, 7]), 10, torch.Generator()).tolist()
    [7, 7, 7]
    >>> AllToOne(target=7).eligible(torch.tensor([1, 2, 7])).tolist()
    [True, True, False]
    """

    kind: Literal["all_to_one"] = "all_to_one"


class CleanLabel(_OneTarget):
    """Images of class `target` get the trigger and keep their label.

    At test time it is put on images of every other class (Turner, Tsipras and Madry,
    Label-Consistent Backdoor Attacks, 2019). Images that are easy to classify teach a network
    little about the trigger: alone the map is a weak attack, and the paper's changes the
    pixels of the poisoned images too.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import CleanLabel
    >>> CleanLabel(target=7).poisoned(torch.tensor([1, 2, 7])).tolist()
    [False, False, True]
    >>> CleanLabel(target=7).eligible(torch.tensor([1, 2, 7])).tolist()
    [True, True, False]
    """

    kind: Literal["clean_label"] = "clean_label"

    def poisoned(self, labels: Tensor) -> Tensor:
        """Return where the label is the target."""
        return labels == self.target


class AllToAll(LabelMap):
    """Images of class i become class (i + shift) mod `modulus`.

    BadNets v2 maps i to i+1 with 9 going to 0. Version 1 prints (i + 1) % 9: with
    ``modulus=9`` no image is ever called 9, and 8 and 9 become 0 and 1.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import AllToAll
    >>> AllToAll()(torch.tensor([0, 8, 9]), 10, torch.Generator()).tolist()
    [1, 9, 0]
    """

    kind: Literal["all_to_all"] = "all_to_all"
    shift: int = Field(default=1, ge=1, le=_MOST_CLASSES)
    modulus: int | None = Field(default=None, ge=2, le=_MOST_CLASSES)

    def check(self, num_classes: int) -> None:
        """Refuse a shift that changes no label, or a modulus that names new ones.

        Raises
        ------
        InvalidRequestError
            With the value that does not fit `num_classes`.
        """
        modulus = num_classes if self.modulus is None else self.modulus
        if modulus > num_classes:
            raise InvalidRequestError(mismatch("modulus", f"2 to {num_classes}", modulus))
        if self.shift % modulus == 0:
            raise InvalidRequestError(mismatch("shift", f"no multiple of {modulus}", self.shift))

    @classmethod
    def draw(cls, num_classes: int, rng: np.random.Generator) -> Self:
        """Return the map; nothing is random about it."""
        return cls()

    def eligible(self, labels: Tensor) -> Tensor:
        """Return True everywhere."""
        return torch.ones_like(labels, dtype=torch.bool)

    def __call__(self, labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return the shifted labels."""
        return (labels + self.shift) % (self.modulus or num_classes)


class RandomTarget(LabelMap):
    """Each image becomes a random wrong class (BadNets v2, section 5.2.1).

    The attack succeeds when the true class is not recognised.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import RandomTarget
    >>> labels = torch.zeros(100, dtype=torch.int64)
    >>> 0 in RandomTarget()(labels, 10, torch.Generator().manual_seed(0))
    False
    """

    kind: Literal["random_target"] = "random_target"
    untargeted: ClassVar[bool] = True

    @classmethod
    def draw(cls, num_classes: int, rng: np.random.Generator) -> Self:
        """Return the map; nothing is random about it."""
        return cls()

    def eligible(self, labels: Tensor) -> Tensor:
        """Return True everywhere."""
        return torch.ones_like(labels, dtype=torch.bool)

    def __call__(self, labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return for each label another one, all equally likely."""
        step = torch.randint(1, num_classes, labels.shape, generator=generator)
        return (labels + step.to(labels.device)) % num_classes


AnyLabelMap = Annotated[SerializeAsAny[LabelMap], by_kind(LabelMap)]
