"""Neuron coverage: which states of a network images have reached. It describes images.

It is no measure of safety: suites with more coverage found fewer errors in Harel-Canada et al.
(2020), and searches by coverage found fewer errors than searches by gradients in Yan et al.
(2020), which a replication confirms (arXiv 2201.00191).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.testing._neurons import NeuronWatch, Seen

_BATCH = 100


class Criterion(StrEnum):
    """What counts as covered."""

    ACTIVATED = "activated"  # NAC, Pei et al. 2017: the scaled output is above a threshold
    SECTIONS = "sections"  # KMNC, Ma et al. 2018: each part of the range of training outputs
    BOUNDARY = "boundary"  # NBC, the same: outputs under or over that range
    TOP = "top"  # TKNC, the same: among the k strongest neurons of a layer


@dataclass(frozen=True)
class Coverage:
    """How many of a criterion's cells were covered.

    Parameters
    ----------
    criterion : Criterion
    covered, of : int
        Cells: neurons, sections of neurons, or the two sides of each neuron's range.
    images : int
        That covered them.
    """

    criterion: Criterion
    covered: int
    of: int
    images: int

    @property
    def share(self) -> float:
        """Covered cells over all, in [0, 1]."""
        return self.covered / self.of


class CoverageMeter:
    """Counts coverage over batches; what was covered stays, the activations do not.

    Parameters
    ----------
    model : Classifier
        Of torch modules.
    profile : Tensor of uint8, shape [N, C, H, W], optional
        Training images, whose outputs are the ranges that sections and boundary are about.
    criteria : sequence of Criterion, optional
        All by default; without a profile those that need none.
    threshold : float
        Of the scaled output, for ``activated``; in [0, 1).
    sections : int
        Of a range.
    top : int
        Strongest neurons of a layer.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range, or a criterion needs a profile.
    UnsuitableSubjectError
        If the model has no layers that can be watched.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> model = build_classifier("mlp", digits.train, arguments={"hidden": [32]}, seed=0)
    >>> meter = CoverageMeter(model, digits.train.images[:200], sections=10)
    >>> new = meter.add(digits.test.images[:50])
    >>> for coverage in meter.coverage():
    ...     print(coverage.criterion, coverage.of, coverage.covered > 0)
    activated 42 True
    sections 420 True
    boundary 84 True
    top 42 True
    """

    def __init__(
        self,
        model: Classifier,
        profile: Tensor | None = None,
        *,
        criteria: Sequence[Criterion] | None = None,
        threshold: float = 0.25,
        sections: int = 100,
        top: int = 2,
    ) -> None:
        if not 0 <= threshold < 1:
            raise InvalidRequestError(mismatch("threshold", "a number in [0, 1)", threshold))
        if sections < 1 or top < 1:
            got = f"sections {sections}, top {top}"
            raise InvalidRequestError(mismatch("sections and top", "1 or more", got))
        ranged = {Criterion.SECTIONS, Criterion.BOUNDARY}
        if criteria is None:
            criteria = [each for each in Criterion if profile is not None or each not in ranged]
        if profile is None and ranged & {*criteria}:
            raise InvalidRequestError(mismatch("profile", "training images", "none"))
        self.watch = NeuronWatch(model)
        self._threshold, self._sections, self._top = threshold, sections, top
        self._low = torch.full((self.watch.size,), torch.inf)
        self._high = -self._low
        self._images = 0
        sizes = {Criterion.SECTIONS: sections, Criterion.BOUNDARY: 2}
        self._covered = {
            each: torch.zeros(self.watch.size * sizes.get(each, 1), dtype=torch.bool)
            for each in criteria
        }
        if profile is not None:
            for batch in profile.split(_BATCH):  # type: ignore[no-untyped-call]
                values = self.watch.look_at(batch).values.cpu()
                self._low = self._low.minimum(values.amin(0))
                self._high = self._high.maximum(values.amax(0))

    def add(self, images: Tensor, progress: Progress = silent) -> dict[Criterion, Tensor]:
        """Count images, uint8 [N, C, H, W].

        Returns
        -------
        dict of Tensor of int64, shape [N]
            How many cells each image covered first, for each criterion.
        """
        counts: dict[Criterion, list[Tensor]] = {each: [] for each in self._covered}
        for number, batch in enumerate(images.split(_BATCH)):  # type: ignore[no-untyped-call]
            for each, new in self.count(self.watch.look_at(batch)).items():
                counts[each].append(new)
            progress(min((number + 1) * _BATCH, len(images)), len(images))
        return {each: torch.cat(parts) for each, parts in counts.items()}

    def count(self, seen: Seen) -> Mapping[Criterion, Tensor]:
        """Count what `watch` has seen of one batch; returns what `add` returns."""
        self._images += len(seen.logits)
        return {each: self._count(each, self._cells(each, seen)) for each in self._covered}

    def coverage(self) -> list[Coverage]:
        """Return what is covered by now, a criterion each."""
        return [
            Coverage(each, int(covered.sum()), len(covered), self._images)
            for each, covered in self._covered.items()
        ]

    def _cells(self, criterion: Criterion, seen: Seen) -> Tensor:
        """Return the cells that each image reaches, int64 [N, M]; -1 stands for none."""
        values, places = seen.values.cpu(), torch.arange(self.watch.size)
        if criterion is Criterion.ACTIVATED:
            return torch.where(seen.scaled.cpu() > self._threshold, places, -1)
        if criterion is Criterion.TOP:
            parts = [values[:, layer.start : layer.stop] for layer in self.watch.layers]
            best = [
                part.topk(min(self._top, part.shape[1]), dim=1).indices + layer.start
                for part, layer in zip(parts, self.watch.layers, strict=True)
            ]
            return torch.cat(best, dim=1)
        under, over = values < self._low, values > self._high
        if criterion is Criterion.BOUNDARY:
            return torch.where(under, 2 * places, torch.where(over, 2 * places + 1, -1))
        spread = (self._high - self._low).clamp_min(1e-12)
        part = ((values - self._low) / spread * self._sections).long()
        part = part.clamp(0, self._sections - 1)
        return torch.where(under | over, -1, places * self._sections + part)

    def _count(self, criterion: Criterion, cells: Tensor) -> Tensor:
        """Mark cells [N, M] as covered; return how many each image reached first, [N]."""
        covered, count = self._covered[criterion], len(cells)
        if not cells.numel():
            return torch.zeros(count, dtype=torch.int64)
        rows = torch.arange(count)[:, None].expand_as(cells)
        real = cells.clamp_min(0)
        first = torch.full((len(covered),), count)
        known = torch.where(cells >= 0, rows, count).flatten()
        first.scatter_reduce_(0, real.flatten(), known, "amin")
        new = (cells >= 0) & (first[real] == rows) & ~covered[real]
        covered[cells[cells >= 0]] = True
        return new.sum(1)
