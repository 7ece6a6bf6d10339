"""Searches for images that fail under small changes, compared at equal cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval
from molehunt.testing._asking import check_images, finite_logits
from molehunt.testing._changes import blur, move, round_to_bytes
from molehunt.testing._coverage import Coverage, CoverageMeter, Criterion

# The largest changes; so small that they keep what an image shows.
_DEGREES = 12.0
_SHIFT = 2 / 32  # of the side
_BLUR = 0.7 / 32
_CONTRAST = 0.3
_BRIGHTNESS = 0.15
_KINDS = 6


class Strategy(StrEnum):
    """Which image is changed next, and how."""

    RANDOM = "random"  # any, by any change
    WALK = "walk"  # any that was kept, a step further; a coin says which are kept
    COVERAGE = "coverage"  # the same; those are kept that cover something new
    MARGIN = "margin"  # the same; those are kept that are nearer to an error


@dataclass(frozen=True, eq=False)
class FailureSearch:
    """What a search found.

    Parameters
    ----------
    strategy : Strategy
    images : Tensor of uint8, shape [F, C, H, W]
        Changed images that the model gets wrong, one for each image that fails.
    sources : Tensor of int64, shape [F]
        Which of the clean images each was.
    labels, predictions : Tensor of int64, shape [F]
    found_at : Tensor of int64, shape [F]
        How many passes had been spent when it was found.
    eligible : int
        Clean images that the model gets right: the most that can be found.
    passes : int
        Images that the model was asked about, the clean ones included.
    kept : float
        Share of the changed images that were kept to go on from.
    coverage : Coverage, optional
        Of all images asked about, where it guided the search.
    seconds : float
    """

    strategy: Strategy
    images: Tensor
    sources: Tensor
    labels: Tensor
    predictions: Tensor
    found_at: Tensor
    eligible: int
    passes: int
    kept: float
    coverage: Coverage | None
    seconds: float

    @property
    def failure_rate(self) -> tuple[float, tuple[float, float]]:
        """The share of eligible images for which a failure was found, with its interval."""
        found = len(self.sources)
        share = found / self.eligible if self.eligible else float("nan")
        return share, rate_interval(found, self.eligible)


def change_images(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Return changed images, uint8 [N, C, H, W], that still show what they showed.

    Parameters
    ----------
    pixels : Tensor of float32, shape [N, C, H, W], in [0, 1]
    amounts : Tensor of float32, shape [N, 6], in [-1, 1]
        Of turning (12 degrees at most), shifts right and down (a 16th of the side), blur (from
        -1 for none), contrast (30 %) and brightness (0.15).
    """
    height, width = pixels.shape[2:]
    sides = torch.tensor([width, height])
    changed = move(pixels, amounts[:, 0] * _DEGREES, amounts[:, 1:3] * _SHIFT * sides)
    changed = blur(changed, (amounts[:, 3] + 1) / 2 * _BLUR * min(height, width))
    mean = changed.mean((1, 2, 3), keepdim=True)
    contrast, light = (amounts[:, kind].view(-1, 1, 1, 1) for kind in (4, 5))
    return round_to_bytes(
        mean + (changed - mean) * (1 + _CONTRAST * contrast) + _BRIGHTNESS * light
    )


def search_failures(
    model: Classifier,
    clean: ImageSet,
    *,
    strategy: Strategy | str,
    passes: int,
    profile: Tensor | None = None,
    criterion: Criterion = Criterion.SECTIONS,
    keep: float = 0.5,
    step: float = 0.8,
    batch_size: int = 50,
    seed: int = 0,
    progress: Progress = silent,
) -> FailureSearch:
    """Look for changed images that a model gets wrong, with so many forward passes.

    A changed image is a clean one with six amounts (`change_images`), so no chain of steps
    leaves what keeps its label. An image that has failed is not asked about again, whatever
    the strategy: what counts is how many clean images can be made to fail.

    Parameters
    ----------
    model : Classifier
        Of torch modules for ``coverage``; any for the others.
    clean : ImageSet
        Of the model's shape and classes.
    strategy : Strategy
    passes : int
        Images to ask about; the clean ones are the first.
    profile : Tensor of uint8, shape [N, C, H, W], optional
        Training images for the criterion's ranges (`CoverageMeter`). Their passes are not
        counted.
    criterion : Criterion
        Of what is new, for ``coverage``.
    keep : float
        The coin of ``walk``.
    step : float
        Deviation of a step of ``walk``, ``coverage`` and ``margin``, over amounts in [-1, 1].
    batch_size : int
        Images that are changed at once.
    seed : int
    progress : Progress
        In passes.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        If the images or settings do not fit, or the model cannot be watched.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> model = build_classifier("mlp", digits.train, arguments={"hidden": []}, seed=0)
    >>> found = search_failures(model, digits.test, strategy="random", passes=600)
    >>> found.passes, len(found.sources) <= found.eligible
    (600, True)
    """
    check_images(model, clean)
    if strategy not in [*Strategy]:
        raise InvalidRequestError(mismatch("strategy", ", ".join(Strategy), repr(strategy)))
    if passes < len(clean) or batch_size < 1:
        got = f"{passes} passes, {batch_size} a batch"
        allowed = f"at least {len(clean)} passes (one each clean image), 1 or more a batch"
        raise InvalidRequestError(mismatch("passes", allowed, got))
    search = _Search(model, clean, Strategy(strategy), profile, criterion, seed)
    while search.passes < passes and bool(search.open.any()):
        search.step(min(batch_size, passes - search.passes), keep, step)
        progress(search.passes, passes)
    return search.result()


class _Search:
    """The state of a search: a corpus of clean images with amounts, and what has failed."""

    def __init__(
        self,
        model: Classifier,
        clean: ImageSet,
        strategy: Strategy,
        profile: Tensor | None,
        criterion: Criterion,
        seed: int,
    ) -> None:
        self.model, self.clean, self.strategy = model.freeze(), clean, strategy
        self.started = time.perf_counter()
        self.generator = torch.Generator().manual_seed(seed)
        guided = strategy is Strategy.COVERAGE
        self.meter = CoverageMeter(model, profile, criteria=[criterion]) if guided else None
        self.passes, self.children, self.kept = 0, 0, 0
        logits, _ = self._ask(clean.images)
        self.eligible = logits.argmax(1) == clean.labels
        self.open = self.eligible.clone()
        self.sources = self.open.nonzero().flatten()
        self.amounts = torch.zeros(len(self.sources), _KINDS)
        self.amounts[:, 3] = -1
        self.margins = _margins(logits, clean.labels)[self.sources]
        self.found: list[tuple[Tensor, Tensor, Tensor, int]] = []

    def step(self, count: int, keep: float, size: float) -> None:
        """Change so many images, ask, and keep what the strategy keeps."""
        ready = self.open[self.sources].nonzero().flatten()
        draws = torch.randint(len(ready), (count,), generator=self.generator)
        parents = ready[draws]
        sources = self.sources[parents]
        if self.strategy is Strategy.RANDOM:
            amounts = 2 * torch.rand(count, _KINDS, generator=self.generator) - 1
        else:
            steps = size * torch.randn(count, _KINDS, generator=self.generator)
            amounts = (self.amounts[parents] + steps).clamp(-1, 1)
        images = change_images(self.clean.images[sources].float().div_(255), amounts)
        labels = self.clean.labels[sources]
        logits, new = self._ask(images)
        predictions = logits.argmax(1)
        self._note(images, sources, predictions)
        margins = _margins(logits, labels)
        kept = self._is_kept(new, margins < self.margins[parents], count, keep)
        kept &= self.open[sources]
        self.children += count
        self.kept += int(kept.sum())
        if self.strategy is Strategy.MARGIN:  # a child takes its parent's place
            self.amounts[parents[kept]], self.margins[parents[kept]] = amounts[kept], margins[kept]
            return
        self.sources = torch.cat([self.sources, sources[kept]])
        self.amounts = torch.cat([self.amounts, amounts[kept]])
        self.margins = torch.cat([self.margins, margins[kept]])

    def _is_kept(self, new: Tensor | None, nearer: Tensor, count: int, keep: float) -> Tensor:
        if self.strategy is Strategy.WALK:
            return torch.rand(count, generator=self.generator) < keep
        if new is not None:
            return new > 0
        return nearer if self.strategy is Strategy.MARGIN else torch.zeros_like(nearer)

    def _note(self, images: Tensor, sources: Tensor, predictions: Tensor) -> None:
        """Write down the first failure of each clean image, and close it."""
        for place in (predictions != self.clean.labels[sources]).nonzero().flatten().tolist():
            if self.open[sources[place]]:
                self.open[sources[place]] = False
                self.found.append((images[place], sources[place], predictions[place], self.passes))

    def _ask(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits [N, K], and how much each image covered first where that guides."""
        self.passes += len(images)
        logits, new = [], []
        for batch in images.split(100):  # type: ignore[no-untyped-call]
            if self.meter is None:
                logits.append(finite_logits(self.model, batch))
                continue
            seen = self.meter.watch.look_at(batch)
            (counted,) = self.meter.count(seen).values()
            logits.append(seen.logits)
            new.append(counted)
        return torch.cat(logits).float().cpu(), torch.cat(new) if new else None

    def result(self) -> FailureSearch:
        """Return what was found until now."""
        empty = torch.zeros(0, dtype=torch.int64)
        images = [image for image, *_ in self.found]
        sources, predictions = (
            torch.stack([each[part] for each in self.found]) if self.found else empty  # type: ignore[misc]
            for part in (1, 2)
        )
        return FailureSearch(
            self.strategy,
            torch.stack(images) if images else self.clean.images[:0],
            sources,
            self.clean.labels[sources],
            predictions,
            torch.tensor([at for *_, at in self.found], dtype=torch.int64),
            int(self.eligible.sum()),
            self.passes,
            self.kept / max(self.children, 1),
            None if self.meter is None else self.meter.coverage()[0],
            time.perf_counter() - self.started,
        )


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how far each label's logit is above the best other, [N]."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own.squeeze(1) - others.amax(1)
