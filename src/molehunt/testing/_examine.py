"""Several tests of one model in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval
from molehunt.testing._asking import check_images, labels_of
from molehunt.testing._boundary import Boundary, Lines, find_boundary, walk_lines
from molehunt.testing._corruptions import (
    SEVERITIES,
    SeverityCurve,
    check_corruptions,
    corrupt,
    measure_corruptions,
)
from molehunt.testing._coverage import Coverage, CoverageMeter


@dataclass(frozen=True, eq=False)
class Examined:
    """What came of the tests; empty or None where one was not asked for, or could not run.

    Parameters
    ----------
    predictions : Tensor of int64, shape [N]
        Of the images as they are.
    accuracy : float, (float, float)
        On them, with its exact 95 % interval.
    curves : sequence of SeverityCurve
    boundary : Boundary, optional
    lines : Lines, optional
    coverage : sequence of Coverage
    not_measured : sequence of str
        Why something that was asked for could not be measured, a line each.
    """

    predictions: Tensor
    accuracy: tuple[float, tuple[float, float]]
    curves: Sequence[SeverityCurve]
    boundary: Boundary | None
    lines: Lines | None
    coverage: Sequence[Coverage]
    not_measured: Sequence[str]


def examine(
    model: Classifier,
    clean: ImageSet,
    *,
    corruptions: Sequence[str] = (),
    boundary: bool = False,
    coverage: bool = False,
    profile: Tensor | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Examined:
    """Measure accuracy, corner cases, the boundary and coverage, as far as they are asked for.

    Parameters
    ----------
    model : Classifier
    clean : ImageSet
        Of the model's shape and classes.
    corruptions : sequence of str
        As in `measure_corruptions`.
    boundary : bool
        As `find_boundary` and `walk_lines` do by default.
    coverage : bool
    profile : Tensor of uint8, shape [N, C, H, W], optional
        Training images for coverage; see `CoverageMeter`.
    seed : int
    progress : Progress
        In tests.

    Raises
    ------
    InvalidRequestError
        If the images do not fit the model, or a corruption is unknown.
    UnsuitableSubjectError
        If the model's answers to the images as they are are not finite.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> model = build_classifier("mlp", digits.train, arguments={"hidden": []}, seed=0)
    >>> found = examine(model, digits.test, corruptions=["blur"], coverage=True)
    >>> [curve.corruption for curve in found.curves], found.lines, len(found.coverage)
    (['blur'], None, 2)
    """
    check_images(model, clean)
    check_corruptions(corruptions)
    predictions = labels_of(model, clean.images)
    right = int((predictions == clean.labels).sum())
    curves: list[SeverityCurve] = []
    counted: list[Coverage] = []
    distances, lines = None, None
    missing: list[str] = []
    tests = len(corruptions) + boundary + coverage
    for name in corruptions:
        try:
            curves += measure_corruptions(model, clean, [name], seed=seed)
        except UnsuitableSubjectError as error:
            missing.append(f"corner case {name} was not measured: {error}")
        progress(len(curves), tests)
    if boundary:
        try:
            distances = find_boundary(model, clean, seed=seed)
            lines = walk_lines(model, clean, seed=seed)
        except (UnsuitableSubjectError, InvalidRequestError) as error:
            missing.append(f"the boundary was not measured: {error}")
        progress(len(corruptions) + 1, tests)
    if coverage:
        try:
            meter = CoverageMeter(model, profile)
            meter.add(clean.images)
            counted = meter.coverage()
        except UnsuitableSubjectError as error:
            missing.append(f"coverage was not counted: {error}")
        progress(tests, tests)
    accuracy = right / len(clean), rate_interval(right, len(clean))
    return Examined(predictions, accuracy, curves, distances, lines, counted, missing)


def failures_of(
    model: Classifier, clean: ImageSet, found: Examined, *, seed: int = 0
) -> dict[str, tuple[ImageSet, Tensor]]:
    """Return the images that a model got wrong in `examine`, by the test that showed it.

    Parameters
    ----------
    model, clean, seed
        As in `examine`, whose result is `found`.

    Returns
    -------
    dict of (ImageSet, Tensor)
        Wrong images with the labels that are right, and what the model took them for:
        ``clean``, each corruption at the severity where it first failed, and ``boundary``.
        Tests without failures are left out.
    """
    wrong = found.predictions != clean.labels
    failures = {"clean": (clean.take(wrong), found.predictions[wrong])}
    for curve in found.curves:
        images, predictions = clean.images.clone(), clean.labels.clone()
        open_ = ~wrong
        for severity in SEVERITIES:
            worse = corrupt(clean.images, curve.corruption, severity, seed=seed)
            answers = labels_of(model, worse)
            new = open_ & (answers != clean.labels)
            images[new], predictions[new] = worse[new], answers[new]
            open_ &= ~new
        failures[curve.corruption] = _part(clean, images, predictions)
    if found.boundary is not None:
        near = found.boundary.distances.isfinite() & (found.boundary.distances > 0)
        predictions = torch.where(near, found.boundary.predictions, clean.labels)
        failures["boundary"] = _part(clean, found.boundary.images, predictions)
    return {name: part for name, part in failures.items() if len(part[1])}


def _part(clean: ImageSet, images: Tensor, predictions: Tensor) -> tuple[ImageSet, Tensor]:
    wrong = predictions != clean.labels
    return ImageSet(images[wrong], clean.labels[wrong], clean.class_names), predictions[wrong]
