"""The comparison with clean twins as a detector: a verdict on a first model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from molehunt.detectors._distill import Distillation
from molehunt.detectors._image_detector import ImageDetector
from molehunt.detectors._twin_readings import reading_passes
from molehunt.detectors._twin_test import TwinTest, compare_with_twins, twin_power
from molehunt.detectors._verdict_counts import BACKDOOR_KINDS, LEAST_POWER, check_demand
from molehunt.detectors._zoo_free import Examination
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier
from molehunt.progress import Progress, silent

# As many as the power was measured with, and the fewest with which it was tried.
_MOST_IMAGES, _FEWEST_IMAGES = 1000, 300
# Twins of networks with many classes learn better from more: 0.20 less accurate than their
# ShuffleNet after 2,000 images of 43 classes, where it was 0.29 after 1,000.
_MOST_A_CLASS = 50


class TwinComparison(ImageDetector):
    """A model's rank among clean twins of itself (`compare_with_twins`).

    It needs the model, labelled clean images and no other model. Its p-value is against the
    twins, so it decides alone: other checks would only take a share of the rate, and no
    p-value is under 1 / (twins + 1).

    Parameters
    ----------
    images : ImageSet
        Clean images of the model's classes; of more than 1,000, or 50 a class, so many are
        drawn.
    twins : int
        19 reach p = 0.05, 39 reach 0.025.
    against : sequence of str
        Kinds of backdoors that it must be known to find before a model counts as clean; see
        `BACKDOOR_KINDS`.
    min_power : float
        The least share of each kind that it found where that was measured.
    random_state : int
    device : str
    cache : Path, optional
        Where twins are kept, so that a second look at the same model is quick.

    Examples
    --------
    >>> TwinComparison().doubt_of_clean(10)
    ''
    >>> TwinComparison().doubt_of_clean(43)[:39]
    'it finds 0 of 7 source-target backdoors'
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.GRADIENTS, Access.WEIGHTS})
    own_null = "clean twins, taught this model's answers to clean images"
    own_null_holds = True
    decides_alone = True
    least_classes = 4

    def __init__(
        self,
        *,
        images: ImageSet | None = None,
        twins: int = 19,
        against: Sequence[str] = BACKDOOR_KINDS,
        min_power: float = LEAST_POWER,
        random_state: int = 0,
        device: str = "auto",
        cache: Path | None = None,
    ) -> None:
        self.images = images
        self.twins = twins
        self.against = against
        self.min_power = min_power
        self.random_state = random_state
        self.device = device
        self.cache = cache

    def passes(self, classes: int) -> int:
        """Return how many images go forward and backward through models of this kind."""
        how = Distillation()
        taught = self.twins * how.steps * how.batch_size
        return taught + (self.twins + 1) * reading_passes(classes)

    def compare(self, model: Classifier, progress: Progress = silent) -> TwinTest:
        """Return everything that the comparison gave; raises as `examine` does."""
        images = self._clean_images()
        most = _most_images(images.num_classes)
        if len(images) > most:
            images = images.sample(most, torch.Generator().manual_seed(self.random_state))
        return compare_with_twins(
            model,
            images,
            twins=self.twins,
            seed=self.random_state,
            device=self.device,
            cache=self.cache,
            key=_digest_of(model),
            progress=progress,
        )

    def doubt_of_clean(self, classes: int, rate: float = 0.05) -> str:
        """Return why finding nothing in a model of so many classes does not make it clean."""
        count = _MOST_IMAGES if self.images is None else len(self.images)
        if count < _FEWEST_IMAGES:
            return f"it was measured with {_FEWEST_IMAGES} clean images or more, here are {count}"
        power = twin_power(classes)
        weak, unknown = [], []
        for kind in self.against:
            found, of = power.get(kind, (0, 0))
            if not of:
                unknown.append(kind)
            elif found / of < self.min_power:
                weak.append(f"{found} of {of} {kind}")
        reasons = []
        if weak:
            reasons.append(f"it finds {', '.join(weak)} backdoors")
        if unknown:
            reasons.append(f"what it finds of {'; '.join(unknown)} was not measured")
        if not reasons:
            return ""
        return f"{', and '.join(reasons)}, in models of about {classes} classes"

    def _examine(self, model: Classifier) -> Examination:
        test = self.compare(model, self.progress)
        if test.abstained:
            most, given = _most_images(model.card.num_classes), len(self._clean_images())
            advice = f": give up to {most:,} clean images, not {given:,}" if given < most else ""
            raise UnsuitableSubjectError(f"cannot say: {test.abstained}{advice}")
        strongest = test.strongest
        ratios = [each.value / each.least for each in test.statistics]
        remark = "" if test.twins else "nothing is over what counts, whatever its twins' would be"
        if strongest is not None:
            remark = f"{strongest.name}, as of {strongest.finds} backdoors"
        return Examination(
            score=max(ratios),
            p_value=test.p_value,
            statistics=np.array(ratios, dtype=np.float64),
            target=None if strongest is None else strongest.target,
            source=None if strongest is None else strongest.source,
            remark=remark,
        )

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.twins < 1:
            raise InvalidRequestError(mismatch("twins", "1 or more", self.twins))
        check_demand(self.against, self.min_power)


def _most_images(classes: int) -> int:
    return max(_MOST_IMAGES, _MOST_A_CLASS * classes)


def _digest_of(model: Classifier) -> str:
    """Return a digest of a model's weights: the same weights have the same twins."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
