"""The models that are stolen, and the images of both sides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from molehunt.images import ImageSet, load_images
from molehunt.networks import (
    BlackBox,
    Classifier,
    build_classifier,
    save_model,
    wrap_estimator,
)
from molehunt.resumable import Task
from molehunt.study import Bench
from molehunt.training import Recipe, clean_accuracy, train
from molehunt_studies.stealing.plan import StealingPlan

_TABLES = {
    "iris": load_iris,
    "wine": load_wine,
    "breast-cancer": load_breast_cancer,
    "digits": load_digits,
}
# A small network, as strangers offer; the thief's is another one.
NETWORK, ARGUMENTS = "vgg", {"width": 16, "stages": [1, 1, 1]}
_TRIAL = {"width": 4, "stages": [1, 1]}
_SEED = 0


@dataclass(frozen=True)
class Victim:
    """A model behind answers, and images on which copies are compared with it."""

    model: BlackBox
    test: Tensor  # uint8 [N, 1, 1, d]
    accuracy: float
    leaves: int | None = None
    answers: int | None = None  # of the leaves, those that differ


def linear_victim(table: str) -> Victim:
    """Return multinomial logistic regression on a set that scikit-learn ships."""
    return _fitted(table, LogisticRegression(max_iter=5000))


def tree_victim(table: str, leaves: int) -> Victim:
    """Return a decision tree of so many leaves at most."""
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=5, random_state=_SEED)
    victim = _fitted(table, tree)
    is_leaf = tree.tree_.children_left < 0
    answers = np.unique(tree.tree_.value[is_leaf][:, 0].round(6), axis=0)
    return replace(victim, leaves=int(is_leaf.sum()), answers=len(answers))


def _fitted(table: str, estimator: Any) -> Victim:
    rows, labels = _TABLES[table](return_X_y=True)
    low, high = rows.min(0), rows.max(0)
    # Features as pixels: 8 bits over their range.
    rows = np.round((rows - low) / np.maximum(high - low, 1e-9) * 255)
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        rows, labels, test_size=0.3, random_state=_SEED, stratify=labels
    )
    estimator.fit(train_rows / 255, train_labels)
    accuracy = float(estimator.score(test_rows / 255, test_labels))
    test = torch.from_numpy(test_rows).to(torch.uint8).view(-1, 1, 1, rows.shape[1])
    return Victim(wrap_estimator(estimator, (1, 1, rows.shape[1])), test, accuracy)


class NetworkTask(Task):
    """A network to train: the victim, or an honest one that a thief may train instead."""


class NetworkRecord(NetworkTask):
    """What it came to."""

    accuracy: float


@dataclass(frozen=True)
class StealingBench(Bench[StealingPlan]):
    """The images of victim and thief: two halves of a training set, and a test set."""

    @cached_property
    def victims(self) -> ImageSet:
        """What the victim was trained on."""
        return self._train.take(self._order[: len(self._train) // 2])

    @cached_property
    def thiefs(self) -> ImageSet:
        """What the thief has, labels not used."""
        return self._train.take(self._order[len(self._train) // 2 :])

    @cached_property
    def test(self) -> ImageSet:
        """On which copies are compared with the original."""
        source = load_images(self.plan.images, data_root=self.data_root).test
        return source.sample(self.plan.test, torch.Generator().manual_seed(_SEED))

    @cached_property
    def others(self) -> Tensor:
        """Images of something else at the victim's size, uint8."""
        source = load_images(self.plan.others, data_root=self.data_root).train
        chosen = source.sample(max(self.plan.queries), torch.Generator().manual_seed(_SEED))
        return chosen.shaped(self.victims.shape).images

    @property
    def network(self) -> tuple[str, dict[str, Any]]:
        """The architecture of the victim."""
        return NETWORK, dict(_TRIAL if self.plan.images == "digits" else ARGUMENTS)

    @cached_property
    def _train(self) -> ImageSet:
        return load_images(self.plan.images, data_root=self.data_root).train

    @cached_property
    def _order(self) -> Tensor:
        return torch.randperm(len(self._train), generator=torch.Generator().manual_seed(_SEED))


def train_network(task: NetworkTask, bench: StealingBench) -> NetworkRecord:
    """Train a network on the victim's half, or the thief's with his own labels."""
    mine = bench.victims if task.id == "victim" else bench.thiefs
    name, arguments = bench.network
    model: Classifier = build_classifier(name, mine, arguments=arguments, seed=_SEED)
    train(model, mine, Recipe(epochs=3, batch_size=128), seed=_SEED)
    save_model(model, bench.model_path(task.id))
    return NetworkRecord(**dict(task), accuracy=clean_accuracy(model, bench.test))
