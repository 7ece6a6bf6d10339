"""A decision tree from its confidences, leaf by leaf."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from molehunt.attacks._stolen import Stolen, new_copy
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import BudgetSpentError, Queried


class _Box(NamedTuple):
    low: Tensor  # [pixels], not of the box
    high: Tensor
    answer: Tensor  # [K]

    def holds(self, point: Tensor) -> bool:
        return bool(((self.low < point) & (point <= self.high)).all())

    def log_volume(self) -> float:
        sides = self.high.clamp_max(1) - self.low.clamp_min(0)
        return float(sides.clamp_min(1e-6).log().sum())


@dataclass(frozen=True)
class PathFinding:
    """Every leaf of a tree as a box of pixels, found from its neighbours.

    Tramèr et al. (USENIX Security 2016, section 4.2 and algorithm 1): a leaf's confidences
    tell it from others. From a point in a leaf each pixel is moved through its range, and the
    thresholds between leaves are bisected; what lies beyond them leads to new leaves. All
    pixels and thresholds of a leaf are bisected together. Not here: incomplete queries, for
    images have no missing pixels.

    Parameters
    ----------
    levels : int
        Of a pixel: thresholds are told apart as far as images with so many values can lie on
        either side of them.
    decimals : int
        To which confidences are the same leaf's.
    checks : int
        Random points of each box that are asked about: leaves that answer alike and touch
        look like one.
    most_leaves : int
        Where to stop.
    seed : int
        Of the first point, and of those.

    Raises
    ------
    InvalidRequestError
        If `levels` is below 2 or `checks` below 0.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from molehunt.attacks import PathFinding, uniform_images
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, wrap_estimator
    >>> digits = load_images("digits")
    >>> rows, labels = digits.train.pixels().flatten(1).numpy(), digits.train.labels.numpy()
    >>> tree = DecisionTreeClassifier(max_leaf_nodes=6, random_state=0).fit(rows, labels)
    >>> target = Queried(wrap_estimator(tree, digits.train.shape))
    >>> stolen = PathFinding().steal(target)
    >>> stolen.model.card.arguments, stolen.agreement(target, digits.test.images)[0]
    ({'leaves': 6}, 1.0)
    """

    levels: int = 256
    decimals: int = 6
    checks: int = 20
    most_leaves: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.checks < 0:
            raise InvalidRequestError(mismatch("checks", "0 or more", self.checks))
        if self.levels < 2:
            raise InvalidRequestError(mismatch("levels of a pixel", "2 or more", self.levels))

    def steal(self, target: Queried) -> Stolen:
        """Ask, follow every path, and return the copy; a spent budget keeps the leaves so far.

        Raises
        ------
        UnsuitableSubjectError
            If the target reveals no confidences.
        BudgetSpentError
            If the budget does not suffice for one leaf.
        """
        started, asked = time.perf_counter(), target.queries
        size = int(torch.tensor(target.input_shape).prod())
        generator = torch.Generator().manual_seed(self.seed)
        waiting = [torch.randint(self.levels, (size,), generator=generator)]
        boxes: list[_Box] = []
        note = ""
        try:
            while waiting and len(boxes) < self.most_leaves:
                self._visit(target, waiting.pop(), waiting, boxes, generator)
        except BudgetSpentError as error:
            if not boxes:
                raise
            note = f"{error}; the tree is not complete"
        if waiting and not note:
            note = f"stopped at {self.most_leaves} leaves; the tree is not complete"
        # Of boxes that overlap the smaller one is the better known.
        boxes.sort(key=_Box.log_volume)
        low, high, answers = (torch.stack(part) for part in zip(*boxes, strict=True))
        model = new_copy(target, "boxes", {"leaves": len(boxes)}, seed=0)
        state = {"low": low, "high": high, "logits": answers.clamp_min(1e-30).log()}
        model.network.load_state_dict(state)
        return Stolen(model.freeze(), target.queries - asked, time.perf_counter() - started, note)

    def _visit(
        self,
        target: Queried,
        point: Tensor,
        waiting: list[Tensor],
        boxes: list[_Box],
        generator: torch.Generator,
    ) -> None:
        """Find the box of a point's leaf, and points in the leaves beyond its faces."""
        own = self._ask(target, point[None])
        here = point / (self.levels - 1)
        if any(torch.equal(box.answer, own[0]) and box.holds(here) for box in boxes):
            return
        size = len(point)
        faces = []
        beyond: list[Tensor] = []
        for end in (0, self.levels - 1):
            ends = point.repeat(size, 1)
            ends[torch.arange(size), torch.arange(size)] = end
            pixels = (self._ask(target, ends) != own).any(1).nonzero().flatten()
            # What is within the box, and what is beyond its face, for each pixel that has one.
            inside, outside = point[pixels].clone(), torch.full((len(pixels),), end)
            while bool(((inside - outside).abs() > 1).any()):
                middle = (inside + outside) // 2
                tried = point.repeat(len(pixels), 1)
                tried[torch.arange(len(pixels)), pixels] = middle
                same = (self._ask(target, tried) == own).all(1)
                inside = torch.where(same, middle, inside)
                outside = torch.where(same, outside, middle)
            face = torch.full((size,), 2.0 if end else -1.0)
            face[pixels] = (inside + outside) / 2 / (self.levels - 1)
            faces.append(face)
            for pixel, value in zip(pixels.tolist(), outside.tolist(), strict=True):
                neighbour = point.clone()
                neighbour[pixel] = value
                beyond.append(neighbour)
        boxes.append(_Box(faces[0], faces[1], own[0]))
        # Leaves that answer alike and touch are taken for one: who is not of it shows here.
        inside = self._draw(faces[0], faces[1], generator)
        beyond += list(inside[(self._ask(target, inside) != own).any(1)])
        waiting += beyond

    def _draw(self, low: Tensor, high: Tensor, generator: torch.Generator) -> Tensor:
        """Return random points of a box, int64 [checks, pixels]."""
        most = self.levels - 1
        first = (low.clamp_min(0) * most).ceil()
        count = (high.clamp_max(1) * most).floor() - first + 1
        shares = torch.rand(self.checks, len(low), generator=generator)
        return (first + (shares * count).floor()).long()

    def _ask(self, target: Queried, points: Tensor) -> Tensor:
        images = points.view(-1, *target.input_shape) / (self.levels - 1)
        return target.confidences(images).cpu().round(decimals=self.decimals)
