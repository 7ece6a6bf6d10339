"""The maximum-margin test, MM-BD (Wang et al., 2024): no data, no zoo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import stats
from scipy.special import gammaln
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.detectors._outliers import log10_p_of_largest
from molehunt.detectors._read_margins import margins_of
from molehunt.detectors._zoo_free import Examination, ZooFreeDetector
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Access, Classifier, LogitsOfPixels, fast_logits, pick_device


class MaximumMargin(ZooFreeDetector):
    """How far each class can be pushed above all others by any image: a target stands out.

    For each class c the margin logit_c − max logit_k (k ≠ c) is maximised over images in
    [0, 1]. A backdoor makes its target win by more than images of any other class do.
    The score is the largest class's margin over the median of all classes'.

    Parameters
    ----------
    starts : int
        Random images from which the search starts, for each class; the best counts.
    steps : int
        Steps of projected gradient ascent (Adam; the step falls linearly to 0).
    lr : float
        Size of the first step, in pixel values.
    batch_size : int
        Images at once; classes and starts are searched together up to it.
    random_state : int
    device : str

    Notes
    -----
    The published test ranks models by its p-value. The ratio ranks them better (on the
    development zoos of ``docs/detectors.md``) and is the score; the published p-value
    is that of the examination.

    The published null: a gamma distribution H is fitted to the statistics of all classes
    but the largest, and p = 1 − H(largest)^(K−1), for K classes. It takes the statistics
    of a clean model's classes for draws of one distribution. Where they are not (on MNIST
    half of the clean models had p < 0.05), it raises false alarms: calibrate.

    Deviations: Adam for a fixed number of steps, where the authors run gradient ascent
    with momentum to convergence (twice the steps made the statistics 3 % larger on digits);
    the gamma distribution starts at 0, because a third parameter fitted to nine values is
    unstable. The authors' code has the exponent K.

    References
    ----------
    Wang, Xiang, Miller, Kesidis: MM-BD: Post-Training Detection of Backdoor Attacks with
    Arbitrary Backdoor Pattern Types Using a Maximum Margin Statistic, IEEE S&P 2024.

    Examples
    --------
    >>> from molehunt.detectors import MaximumMargin
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> found = MaximumMargin(starts=1, steps=5).examine(model)
    >>> found.statistics.shape  # one a class
    (10,)
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.GRADIENTS})
    reference = "margin"
    own_null = "published null of MM-BD: a gamma law of the other classes' margins"
    least_classes = 4
    tiny: ClassVar[Mapping[str, Any]] = {"starts": 1, "steps": 4}

    def __init__(
        self,
        *,
        starts: int = 5,
        steps: int = 100,
        lr: float = 0.2,
        batch_size: int = 250,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        self.starts = starts
        self.steps = steps
        self.lr = lr
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def compared(self, examination: Examination) -> float:
        """Return how far the largest margin stands out, in spreads of the others' logarithms.

        The score is not comparable among architectures: the largest margin of clean residual
        networks is 1.2 to 3.9 times the median one, of LeNets 1.1 to 1.6 times. Measured in
        the spread of the model's own classes it is (docs/studies/reference).

        Examples
        --------
        >>> alike = Examination(2.0, None, np.array([1.0, 1.1, 0.9, 2.0]), 3)
        >>> spread = Examination(2.0, None, np.array([1.0, 1.8, 0.6, 2.0]), 3)
        >>> MaximumMargin().compared(alike) > 3 * MaximumMargin().compared(spread)
        True
        """
        values = np.sort(examination.statistics)
        logarithms = np.log(np.maximum(values, max(_LEAST * float(np.median(values)), 1e-9)))
        others = logarithms[:-1]
        return float((logarithms[-1] - others.mean()) / max(float(others.std(ddof=1)), 1e-6))

    def passes(self, classes: int) -> int:
        """Return how many images go forward and backward through a model of so many classes."""
        return classes * self.starts * self.steps

    def _examine(self, model: Classifier) -> Examination:
        device = pick_device(self.device)
        logits_of = fast_logits(model, device)
        generator = torch.Generator().manual_seed(self.random_state)
        classes = model.card.num_classes
        count = classes * self.starts
        images = torch.rand(count, *model.card.input_shape, generator=generator)
        goals = torch.arange(classes).repeat_interleave(self.starts)
        margins = torch.cat(
            [
                self._largest(logits_of, part.to(device), goal.to(device)).cpu()
                for part, goal in zip(
                    images.split(self.batch_size),  # type: ignore[no-untyped-call]
                    goals.split(self.batch_size),  # type: ignore[no-untyped-call]
                    strict=True,
                )
            ]
        )
        statistics = margins.view(classes, self.starts).amax(1).double().numpy()
        if not np.isfinite(statistics).all():
            raise UnsuitableSubjectError(
                mismatch("answers of the model", "finite numbers", "NaN or infinity")
            )
        return Examination(
            score=float(statistics.max() / max(float(np.median(statistics)), 1e-6)),
            p_value=10 ** log10_p_of_margins(statistics),
            statistics=statistics,
            target=int(statistics.argmax()),
        )

    def _largest(self, logits_of: LogitsOfPixels, images: Tensor, goals: Tensor) -> Tensor:
        """Return the largest margins [N] that were found for goals [N] from images."""
        # As `fast_logits` asks where it can.
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        optimizer = torch.optim.Adam([images], lr=self.lr)
        for step in range(self.steps):
            optimizer.param_groups[0]["lr"] = self.lr * (1 - step / self.steps)
            (gradient,) = torch.autograd.grad(-margins_of(logits_of(images), goals).sum(), images)
            images.grad = gradient
            optimizer.step()
            with torch.no_grad():
                images.clamp_(0, 1)
        with torch.no_grad():
            return margins_of(logits_of(images), goals)

    def _check_settings(self) -> None:
        super()._check_settings()
        for name in ("starts", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(mismatch(name, "1 or more", getattr(self, name)))
        if not self.lr > 0:
            raise InvalidRequestError(mismatch("lr", "a number over 0", self.lr))


# Of the median margin: classes that no image reaches are counted as so far.
_LEAST = 0.01


def log10_p_of_margins(statistics: Floats) -> float:
    """Return log10 of 1 − H(largest)^(K−1), H a gamma law fitted to the K−1 others.

    It stays finite where p itself is too small for a float.
    """
    # Margins of classes that no image reaches may be negative; a gamma law has none.
    values = np.maximum(np.sort(statistics), 1e-6)
    others, largest = values[:-1], float(values[-1])
    if np.log(others.mean()) - np.log(others).mean() < 1e-12:
        # No spread to judge by: a model that answers every image alike.
        return 0.0 if largest <= others.max() * (1 + 1e-6) else -300.0
    shape, _, scale = stats.gamma.fit(others, floc=0)
    log_tail = float(stats.gamma.logsf(largest, shape, scale=scale))
    if not math.isfinite(log_tail):
        # The first term of the tail's continued fraction.
        x = largest / scale
        log_tail = -x + shape * math.log(x) - float(gammaln(shape)) - math.log(x - shape + 1)
    return log10_p_of_largest(log_tail, len(others))
