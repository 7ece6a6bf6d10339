"""From a detector's score to a finding at a stated rate of false alarms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from molehunt.detectors._calibration import models_needed
from molehunt.errors import mismatch
from molehunt.findings import BACKDOOR, Finding, Histogram, Picture, Status
from molehunt.images import ImageSet
from molehunt.networks import ModelCard

if TYPE_CHECKING:
    from molehunt.detectors._base import Detector
    from molehunt.detectors._zoo_free import Examination

_PICTURED_IMAGES = 3


def interpret(
    detector: Detector, name: str, score: float, p_value: float | None, rate: float, classes: int
) -> Finding:
    """Return what a score and its p-value mean for a model of so many classes."""
    scores = detector.calibration_scores
    drawn = Histogram("score", score, scores) if len(scores) and np.isfinite(score) else None
    finding = Finding(
        name,
        Status.INCONCLUSIVE,
        "no p-value: it has no null of its own and was calibrated on no reference models",
        BACKDOOR,
        score=score if np.isfinite(score) else None,
        p_value=p_value,
        threshold=rate,
        null=detector.null_for(classes),
        exhibits=() if drawn is None else (drawn,),
    )
    if p_value is None:
        return finding
    needed = models_needed(rate)
    if detector.is_calibrated and len(scores) < needed:
        what = f"clean calibration models for a false-alarm rate of {rate:.3g}"
        return replace(
            finding, message=mismatch(what, f"at least {needed}", len(scores)), p_value=None
        )
    if p_value > rate:
        doubt = detector.doubt_of_clean(classes, rate)
        said = f"p = {p_value:.2g}, above {rate:.3g}"
        return replace(
            finding,
            status=Status.CLEAR,
            message=f"{said}; {doubt}" if doubt else said,
            weak=bool(doubt),
        )
    said = f"p = {p_value:.2g}, at most {rate:.3g}"
    if detector.null_holds(classes, rate):
        return replace(finding, status=Status.FOUND, message=said)
    return replace(
        finding,
        message=f"suspicious: {said}, but clean models of some data sets do not meet its null "
        f"({detector.null_for(classes)}); for a verdict calibrate it on clean reference models",
    )


def draw_trigger(found: Examination, card: ModelCard, images: ImageSet | None) -> Iterator[Picture]:
    """Yield the reconstructed trigger, alone and on clean images."""
    if found.pattern is None or found.mask is None or found.target is None:
        return
    mask = found.mask[None]
    name = card.class_names[found.target]
    yield Picture(
        f"reconstructed trigger for class {name}", found.pattern * mask + 0.5 * (1 - mask)
    )
    if images is not None:
        others = images.take(images.labels != found.target)
        chosen = others if found.source is None else others.take(others.labels == found.source)
        # Far apart, so that the images are of several classes.
        count = min(len(chosen), _PICTURED_IMAGES)
        spread = torch.linspace(0, len(chosen) - 1, count).long()
        for pixels in chosen.take(spread).pixels().numpy():
            yield Picture("on a clean image", found.pattern * mask + pixels * (1 - mask))
