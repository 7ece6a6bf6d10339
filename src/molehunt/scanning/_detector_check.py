"""A detector as a check."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from molehunt.detectors import LEAST_POWER, Detector, DetectorCard, load_detector
from molehunt.errors import InvalidRequestError, MolehuntError, UnsuitableSubjectError, printable
from molehunt.findings import BACKDOOR, Finding, Status
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.scanning._check import Basis, Check

# Floating-point operations that two idle cores do in a minute, about. Work is bounded in
# these and not by a clock: a busy machine runs the same checks, and gives the same verdict.
OPERATIONS_A_MINUTE = 5e12
# Minutes that a check may take which nobody asked for, and one that decides alone.
MOST_UNASKED = 10.0
MOST_UNASKED_ALONE = 60.0


@dataclass(frozen=True)
class DetectorCheck(Check):
    """A detector as a scan uses it.

    Parameters
    ----------
    name : str
        Under which findings list it.
    detector : Detector
    card : DetectorCard, optional
        Of its file; none for one that needs no fitting.
    asked_for : bool
        Whether the user named it.
    min_power : float
        The least share of the backdoored test models of its file that it must have found
        before what it does not find counts as clean.
    minutes : float, optional
        The most work on a model, in minutes of two idle cores; it does not run where it would
        take more. By default 10, or 60 for one that decides alone, and for one that was asked
        for any.
    """

    name: str
    detector: Detector
    card: DetectorCard | None = None
    asked_for: bool = True
    min_power: float = LEAST_POWER
    minutes: float | None = None

    @classmethod
    def load(cls, path: str | Path, *, min_power: float = LEAST_POWER) -> DetectorCheck:
        """Read a detector file; see `molehunt.detectors.load_detector` for what is raised."""
        detector, card = load_detector(path)
        return cls(card.detector, detector, card, min_power=min_power)

    @property
    def judges_many(self) -> bool:
        """Whether it takes milliseconds a model, so that many share a process."""
        return self.detector.judges_many

    @property
    def decides_alone(self) -> bool:
        """Whether checks that nobody asked for are left out where it runs."""
        return self.detector.decides_alone

    @property
    def basis(self) -> Basis:
        """What it stands on."""
        return Basis(
            self.card.zoo if self.card else {},
            self.card.evaluation if self.card else None,
            len(self.detector.calibration_scores),
            self.detector.exhibits(),
        )

    def why_not(self, model: Classifier, clean: ImageSet | None) -> Finding | None:
        """Return why it does not judge a model; None where it does."""
        try:
            detector = self._fit_to(model, clean)
            detector.check_subject(model)
            _check_affordable(detector, model, self._most_minutes())
        except MolehuntError as error:
            status = Status.INCONCLUSIVE if self.asked_for else Status.NOT_RUN
            return Finding(self.name, status, str(error), BACKDOOR)
        except Exception as error:  # a stranger's network may fail in any way
            return self._fail(error)
        return None

    def _most_minutes(self) -> float:
        if self.minutes is not None:
            return self.minutes
        if self.asked_for:
            return math.inf
        return MOST_UNASKED_ALONE if self.decides_alone else MOST_UNASKED

    def run(
        self,
        models: Sequence[Classifier],
        clean: ImageSet | None,
        rates: Sequence[float],
        progress: Progress = silent,
    ) -> Iterator[Finding]:
        """Yield a finding a model, all at once or as they are made."""
        if self.judges_many:
            yield from self._judge(self.detector, models, rates)
            return
        for model, rate in zip(models, rates, strict=True):
            detector = self._fit_to(model, clean)
            detector.progress = progress
            yield from self._judge(detector, [model], [rate])

    def _judge(
        self, detector: Detector, models: Sequence[Classifier], rates: Sequence[float]
    ) -> list[Finding]:
        """Return a finding a model, also when one of them breaks the computation for all."""
        try:
            found = list(detector.judge(models, rates, self.name)) if models else []
            return [self._without_clean(finding) for finding in found]
        except Exception as error:  # a stranger's network may fail in any way
            if len(models) == 1:
                return [self._fail(error)]
        return [
            finding
            for model, rate in zip(models, rates, strict=True)
            for finding in self._judge(detector, [model], [rate])
        ]

    def _without_clean(self, finding: Finding) -> Finding:
        """Return a finding that makes no model clean, if its file shows too little power."""
        if self.card is None or finding.status is not Status.CLEAR or finding.weak:
            return finding
        known = self.card.evaluation
        if known is None:
            doubt = "how many backdoors it finds was not measured: evaluate it on a zoo"
        elif known.power < self.min_power:
            doubt = f"it found {known.power:.0%} of the backdoored test models"
        else:
            return finding
        return replace(finding, message=f"{finding.message}; {doubt}", weak=True)

    def _fit_to(self, model: Classifier, clean: ImageSet | None) -> Detector:
        """Return the detector, with images of the model's kind if it needs any."""
        detector = copy.copy(self.detector)
        if detector.needs_images:
            if clean is None:
                raise InvalidRequestError("needs labelled clean images: `clean`")
            images = clean.shaped(model.card.input_shape).named(model.card.class_names)
            detector.set_params(images=images)
        return detector

    def _fail(self, error: Exception) -> Finding:
        kind = "" if isinstance(error, MolehuntError) else f"{type(error).__name__}: "
        message = printable(f"the model fails on the detector's images: {kind}{error}", 300)
        return Finding(self.name, Status.FAILED, message, BACKDOOR)


def _check_affordable(detector: Detector, model: Classifier, minutes: float) -> None:
    """Refuse what would take longer than so many minutes, by the operations it takes."""
    passes = detector.passes(model.card.num_classes)
    if not passes or minutes == math.inf:
        return
    # Importing it may start CUDA, which then no child of this process could use.
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.full((1, *model.card.input_shape), 0.5))
    # A backward pass takes about twice as many as a forward pass.
    needed = 3 * passes * counter.get_total_flops() / OPERATIONS_A_MINUTE
    if needed > minutes:
        raise UnsuitableSubjectError(
            f"takes up to {needed:.0f} minutes of two idle cores, of at most {minutes:g}; "
            f"--minutes {math.ceil(needed)} has it run"
        )
