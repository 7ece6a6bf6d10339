"""What each detector says of each model."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molehunt.detectors import (
    Detector,
    DetectorCard,
    Examination,
    MetaClassifier,
    PatternDetector,
    TwinComparison,
    ZooFreeDetector,
    load_detector,
    models_needed,
    new_detector,
)
from molehunt.errors import (
    InvalidRequestError,
    MolehuntError,
    UnsuitableSubjectError,
    printable,
    refused,
)
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.scanning._verdict import Finding, Picture, Status

_PICTURED_IMAGES = 3
# Floating-point operations that a check may take which nobody asked for: about ten minutes
# on two cores.
MOST_UNASKED = 5e13
# The same for a check that decides: about an hour.
MOST_UNASKED_ALONE = 3e14
_SUSPICIOUS = (
    "suspicious: p = {:.2g}, at most {:.3g}, but by a {}, which clean models of some data sets "
    "do not meet; for a verdict calibrate it on clean reference models: molehunt fit"
)


@dataclass(frozen=True)
class FittedDetector:
    """A detector as a scan uses it.

    Parameters
    ----------
    name : str
        Under which findings list it.
    detector : Detector
    card : DetectorCard, optional
        Of its file; none for one that needs no fitting.
    asked_for : bool
        Whether the user named it. Where one that was named cannot judge, the subject is
        inconclusive; of the others the scan says that they were not run.
    """

    name: str
    detector: Detector
    card: DetectorCard | None = None
    asked_for: bool = True

    @property
    def judges_many(self) -> bool:
        """Whether it judges many models at once, in milliseconds each."""
        return isinstance(self.detector, MetaClassifier)

    @classmethod
    def load(cls, path: str | Path) -> FittedDetector:
        """Read a detector file; see `molehunt.detectors.load_detector` for what is raised."""
        detector, card = load_detector(path)
        return cls(card.detector, detector, card)

    @classmethod
    def without_zoo(cls, name: str, *, asked_for: bool = True, **settings: Any) -> FittedDetector:
        """Return a detector that needs no zoo, by name and with its settings.

        Raises
        ------
        InvalidRequestError
            For an unknown name, or one that has to be fitted first.
        """
        detector = TwinComparison(**settings) if name == "twins" else new_detector(name, **settings)
        if not isinstance(detector, ZooFreeDetector):
            raise InvalidRequestError(
                refused("check", "one that needs no zoo", f"{name}, which: molehunt fit")
            )
        return cls(name, detector, asked_for=asked_for)


def judge(
    models: Sequence[Classifier],
    detectors: Sequence[FittedDetector],
    clean: ImageSet | None,
    max_false_alarms: float,
    progress: Progress = silent,
) -> Iterator[list[Finding]]:
    """Yield the findings of each model, in the order of the detectors.

    Each detector is held to `max_false_alarms` divided by the number of detectors that fit
    the model, which is known before any of them has scored it. Detectors of a zoo judge all
    models at once; the others take a model at a time, so that findings come as they are made.
    `progress` is called with the work done on a model, and all of it, where a detector tells.
    """
    table: list[list[Finding | Detector]] = [
        [_suitable(fitted, model, clean) for fitted in detectors] for model in models
    ]
    for cells in table:
        _leave_to_one(cells, detectors)
        for cell in cells:
            if isinstance(cell, TwinComparison):
                cell.progress = progress
    rates = [
        max_false_alarms / max(1, sum(isinstance(cell, Detector) for cell in row)) for row in table
    ]
    for column, fitted in enumerate(detectors):
        if isinstance(fitted.detector, MetaClassifier):
            rows = [n for n, row in enumerate(table) if isinstance(row[column], Detector)]
            found = _judge_by_zoo(
                fitted.name, fitted.detector, [models[n] for n in rows], [rates[n] for n in rows]
            )
            for row, finding in zip(rows, found, strict=True):
                table[row][column] = finding
    for model, rate, cells in zip(models, rates, table, strict=True):
        yield [
            cell if isinstance(cell, Finding) else _judge_alone(fitted.name, cell, model, rate)
            for fitted, cell in zip(detectors, cells, strict=True)
        ]


def _leave_to_one(row: list[Finding | Detector], detectors: Sequence[FittedDetector]) -> None:
    """Where a detector decides alone, take what nobody asked for out of a model's row."""
    alone = next(
        (
            fitted.name
            for fitted, cell in zip(detectors, row, strict=True)
            if isinstance(cell, ZooFreeDetector) and cell.decides_alone
        ),
        None,
    )
    if alone is None:
        return
    for column, (fitted, cell) in enumerate(zip(detectors, row, strict=True)):
        if fitted.name != alone and not fitted.asked_for and isinstance(cell, Detector):
            row[column] = Finding(
                fitted.name, Status.NOT_RUN, f"not needed: {alone} decides, at the whole rate"
            )


def _suitable(
    fitted: FittedDetector, model: Classifier, clean: ImageSet | None
) -> Finding | Detector:
    """Return the detector, with images if it needs any, or why it cannot judge the model."""
    detector = fitted.detector
    try:
        if detector.needs_images:
            if clean is None:
                raise InvalidRequestError("needs labelled clean images: --clean folder:PATH")
            images = clean.shaped(model.card.input_shape).named(model.card.class_names)
            detector = copy.copy(detector).set_params(images=images)
        detector.check_subject(model)
        if not fitted.asked_for and isinstance(detector, ZooFreeDetector):
            _check_affordable(fitted.name, detector, model)
        return detector
    except MolehuntError as error:
        status = Status.INCONCLUSIVE if fitted.asked_for else Status.NOT_RUN
        return Finding(fitted.name, status, str(error))
    except Exception as error:  # a stranger's network may fail in any way
        return _failed(fitted.name, error)


def _check_affordable(name: str, detector: ZooFreeDetector, model: Classifier) -> None:
    """Refuse what nobody asked for and what would take long, by the operations it takes.

    They are counted, not timed: a busy machine runs the same checks.
    """
    passes = detector.passes(model.card.num_classes)
    if not passes:
        return
    # Importing it may start CUDA, which then no child of this process could use.
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.full((1, *model.card.input_shape), 0.5))
    # A backward pass takes about twice as many as a forward pass.
    operations = 3 * passes * counter.get_total_flops()
    most = MOST_UNASKED_ALONE if detector.decides_alone else MOST_UNASKED
    if operations > most:
        raise UnsuitableSubjectError(
            f"would take {operations:.1e} operations, more than {most:.0e} unasked; "
            f"--check {name} runs it"
        )


def _judge_by_zoo(
    name: str, detector: MetaClassifier, models: Sequence[Classifier], rates: Sequence[float]
) -> list[Finding]:
    """Return a finding a model, also when one of them breaks the computation for all."""
    if not models:
        return []
    try:
        return list(_by_zoo(name, detector, models, rates))
    except Exception as error:  # a stranger's network may fail in any way
        if len(models) == 1:
            return [_failed(name, error)]
        return [
            _judge_by_zoo(name, detector, [model], [rate])[0]
            for model, rate in zip(models, rates, strict=True)
        ]


def _judge_alone(name: str, detector: Detector, model: Classifier, rate: float) -> Finding:
    """Return the finding of a detector that takes one model at a time."""
    try:
        return _by_itself(name, detector, model, rate)
    except UnsuitableSubjectError as error:
        return Finding(name, Status.INCONCLUSIVE, str(error))
    except Exception as error:  # a stranger's network may fail in any way
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Finding:
    kind = "" if isinstance(error, MolehuntError) else f"{type(error).__name__}: "
    return Finding(
        name,
        Status.FAILED,
        printable(f"the model fails on the detector's images: {kind}{error}", 300),
    )


def _by_zoo(
    name: str, detector: MetaClassifier, models: Sequence[Classifier], rates: Sequence[float]
) -> Iterator[Finding]:
    """Yield what a detector that learned from a zoo finds, all models at once."""
    responses = None
    if isinstance(detector, PatternDetector):
        responses = detector.responses(models)
        features = detector.pool(responses)
    else:
        features = detector.transform(models)
    scores = detector.score_features(features)
    for position, (score, rate) in enumerate(zip(scores, rates, strict=True)):
        if not np.isfinite(features[position]).all():
            status = Status.INCONCLUSIVE
            message = refused("answers of the model", "finite numbers", "NaN or infinity")
            p_value = None
        else:
            classes = models[position].card.num_classes
            status, message, p_value = _read(detector, float(score), rate, classes)
            typical = detector.null is None or bool(
                detector.is_typical(features[position : position + 1])[0]
            )
            if p_value is not None and not typical:
                status = Status.INCONCLUSIVE
                message = (
                    f"unlike every model of the detector's zoo, so p = {p_value:.2g} means nothing"
                )
        yield Finding(
            name,
            status,
            message,
            score=float(score) if np.isfinite(score) else None,
            p_value=p_value,
            threshold=rate,
            null=detector.null,
            responses=None if responses is None else responses[position],
        )


def _by_itself(name: str, detector: Detector, model: Classifier, rate: float) -> Finding:
    """Return what a detector without a zoo finds in one model."""
    assert isinstance(detector, ZooFreeDetector)
    found = detector.examine(model)
    status, message, p_value = _read(detector, found, rate, model.card.num_classes)
    if found.remark and p_value is not None and p_value <= rate:
        message += f"; {found.remark}"
    return Finding(
        name,
        status,
        message,
        score=found.score,
        p_value=p_value,
        threshold=rate,
        null=detector.null,
        target=found.target,
        pictures=tuple(_pictures(found, detector, model)),
    )


def _read(
    detector: Detector, found: float | Examination, rate: float, classes: int
) -> tuple[Status, str, float | None]:
    """Return what a score or an examination means at a rate, and its p-value if it has one."""
    if detector.null is None:
        return (
            Status.INCONCLUSIVE,
            "no p-value: it has no null of its own and was calibrated on no reference models",
            None,
        )
    calibrated = len(getattr(detector, "calibration_scores_", ()))
    needed = models_needed(rate)
    if (calibrated or isinstance(detector, MetaClassifier)) and calibrated < needed:
        what = f"clean calibration models for a false-alarm rate of {rate:.3g}"
        return Status.INCONCLUSIVE, refused(what, f"at least {needed}", calibrated), None
    if isinstance(found, Examination):
        assert isinstance(detector, ZooFreeDetector)
        p_value = detector.p_value_of(found)
    else:
        p_value = float(detector.p_values([found])[0])
    doubt = detector.doubt_of_clean(classes)
    if p_value > rate and doubt:
        return Status.PASSED, f"p = {p_value:.2g}, above {rate:.3g}; {doubt}", p_value
    if p_value > rate:
        return Status.CLEAN, f"p = {p_value:.2g}, above {rate:.3g}", p_value
    if isinstance(detector, ZooFreeDetector) and not (calibrated or detector.own_null_holds):
        said = _SUSPICIOUS.format(p_value, rate, detector.own_null)
        return Status.INCONCLUSIVE, said, p_value
    return Status.BACKDOORED, f"p = {p_value:.2g}, at most {rate:.3g}", p_value


def _pictures(
    found: Examination, detector: ZooFreeDetector, model: Classifier
) -> Iterator[Picture]:
    """Yield the reconstructed trigger, alone and on clean images."""
    if found.pattern is None or found.mask is None or found.target is None:
        return
    mask = found.mask[None]
    name = model.card.class_names[found.target]
    yield Picture(
        f"reconstructed trigger for class {name}", found.pattern * mask + 0.5 * (1 - mask)
    )
    images: ImageSet | None = getattr(detector, "images", None)
    if images is not None:
        others = images.take(images.labels != found.target)
        chosen = others if found.source is None else others.take(others.labels == found.source)
        for pixels in chosen.take(_spread(len(chosen))).pixels().numpy():
            yield Picture("on a clean image", found.pattern * mask + pixels * (1 - mask))


def _spread(count: int) -> torch.Tensor:
    """Return a few positions far apart, so that the images are of several classes."""
    return torch.linspace(0, count - 1, min(count, _PICTURED_IMAGES)).long()
