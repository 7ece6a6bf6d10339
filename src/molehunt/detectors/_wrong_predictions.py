"""The histogram of wrong predictions: which class takes a model's mistakes (Liu et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from molehunt.arrays import Floats
from molehunt.detectors._base import find_null
from molehunt.detectors._calibration import conformal_threshold
from molehunt.detectors._image_detector import ImageDetector
from molehunt.detectors._zoo_free import Examination
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier, logits_of
from molehunt.progress import Progress, silent

_FEWEST_MISTAKES = 5


class WrongPredictions(ImageDetector):
    """Whether one class takes more of a model's mistakes on clean images than it should.

    A network that was retrained to call triggered images something may call some clean ones
    so. A class's statistic is the number of images that are wrongly taken for it, less the
    number that is expected, over the square root of the latter (and 1). The largest is the
    score. It does not depend on how many mistakes there are, nor on which classes are hard.

    Parameters
    ----------
    images : ImageSet
        Labelled clean images. What counts is the mistakes among them: give many.
    prior : float
        Mistakes of each class that are expected to go to all others alike, beside those that
        reference models make.

    Notes
    -----
    What is expected: of images of a class, the share of mistakes that goes to each other class
    is that of the clean models of `calibrate`. Without them it is the same for all, as the
    paper has it; the p-value is then that of the chi-square test. Clean models do not meet it:
    a 4 is taken for a 9 and not for a 0.

    Clean twins that are taught a model's answers (`make_twins`) are no reference here: they are
    taught its mistakes, too.

    A reference model's own score is against the other ones, so that none is expected to make
    its own mistakes.

    What it finds was measured (the study ``trojaning``): networks that were retrained without
    their data, and not those that learned a backdoor from poisoned data.

    References
    ----------
    Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang: Trojaning Attack on Neural Networks, NDSS 2018,
    section VII and Figure 12, where the histogram is looked at by eye.

    Examples
    --------
    >>> from molehunt.detectors import WrongPredictions
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> found = WrongPredictions(images=digits).examine(model)
    >>> found.statistics.shape  # one a class
    (10,)
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    own_null = "chi-square law of mistakes that go to all classes alike"
    least_classes = 3
    axes: ClassVar[Mapping[str, str]] = {"calibration_scores_": "n", "mistakes_": "kk"}
    tiny: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *, images: ImageSet | None = None, prior: float = 1.0) -> None:
        self.images = images
        self.prior = prior

    def fit(
        self,
        models: Sequence[Classifier],
        y: ArrayLike | None = None,
        *,
        progress: Progress = silent,
    ) -> Self:
        """Learn nothing but the shape and the number of classes; see `ZooFreeDetector.fit`."""
        self.__dict__.pop("mistakes_", None)
        return super().fit(models, y, progress=progress)

    def calibrate(
        self, models: Sequence[Classifier], y: ArrayLike, *, max_false_alarms: float = 0.05
    ) -> Self:
        """Learn which mistakes clean reference models (0 in `y`) make; their scores are the null.

        Raises
        ------
        InvalidRequestError, UnsuitableSubjectError
            As `ZooFreeDetector.calibrate`.
        """
        self._check_settings()
        clean = np.flatnonzero(find_null(models, y, max_false_alarms)).tolist()
        self._take_kind_of(models[clean[0]])
        images = self._clean_images()
        each = np.stack([mistakes_of(models[n], images) for n in self._checked(models, clean)])
        self.mistakes_ = each.sum(0)
        self.calibration_scores_ = np.array(
            [excess_mistakes(own, self.mistakes_ - own, self.prior).max() for own in each]
        )
        self.__dict__.pop("contract_", None)
        self._take_contract(models[n].card for n in clean)
        self.threshold_ = conformal_threshold(self.calibration_scores_, max_false_alarms)
        return self

    def _checked(self, models: Sequence[Classifier], numbers: Sequence[int]) -> Sequence[int]:
        for number in numbers:
            self.check_subject(models[number])
        return numbers

    def _examine(self, model: Classifier) -> Examination:
        own = mistakes_of(model, self._clean_images())
        expected = getattr(self, "mistakes_", np.zeros_like(own))
        p_value = None
        if not self.is_calibrated:
            p_value = chi_square_p(own, expected_mistakes(own, expected, self.prior))
        return self._examination(own, expected, p_value)

    def _examination(self, own: Floats, others: Floats, p_value: float | None) -> Examination:
        if own.sum() < _FEWEST_MISTAKES:
            allowed = f"{_FEWEST_MISTAKES} or more: give more clean images"
            raise UnsuitableSubjectError(mismatch("mistakes of the model", allowed, int(own.sum())))
        statistics = excess_mistakes(own, others, self.prior)
        target = int(statistics.argmax())
        taken = own.sum(0)[target]
        expected = expected_mistakes(own, others, self.prior)[target]
        return Examination(
            score=float(statistics[target]),
            p_value=p_value,
            statistics=statistics,
            target=target,
            remark=f"this class takes {taken:.0f} of {own.sum():.0f} mistakes, "
            f"{expected:.0f} are expected",
        )

    def _check_settings(self) -> None:
        super()._check_settings()
        if not self.prior >= 0:
            raise InvalidRequestError(mismatch("prior", "0 or more", self.prior))


def mistakes_of(model: Classifier, images: ImageSet) -> Floats:
    """Return how many images of each class were taken for each other class, [K, K].

    Rows are the labels, columns the answers; the diagonal is 0.
    """
    logits = logits_of(model, images.images)
    if not bool(logits.isfinite().all()):
        raise UnsuitableSubjectError(
            mismatch("answers of the model", "finite numbers", "NaN or infinity")
        )
    classes = images.num_classes
    places = images.labels * classes + logits.argmax(1)
    counts = places.bincount(minlength=classes**2).view(classes, classes).double()
    return np.asarray(counts.fill_diagonal_(0).numpy(), dtype=np.float64)


def expected_mistakes(own: Floats, others: Floats, prior: float = 1.0) -> Floats:
    """Return how many mistakes [K] go to each class if they go where those of others went.

    Parameters
    ----------
    own, others : array of float64, shape [K, K]
        Of the model and of the reference models, as `mistakes_of` counts them.
    prior : float
        As in `WrongPredictions`.
    """
    alike = (1 - np.eye(len(own))) / (len(own) - 1)
    counts = others + (prior or 1e-9) * alike
    shares = counts / counts.sum(1, keepdims=True)
    return np.asarray(own.sum(1) @ shares, dtype=np.float64)


def excess_mistakes(own: Floats, others: Floats, prior: float = 1.0) -> Floats:
    """Return how far the mistakes that each class takes are above the expected ones, [K].

    In roots of the expected number; parameters as in `expected_mistakes`.
    """
    expected = expected_mistakes(own, others, prior)
    return np.asarray((own.sum(0) - expected) / np.sqrt(expected + 1), dtype=np.float64)


def chi_square_p(own: Floats, expected: Floats) -> float:
    """Return the p-value of mistakes [K, K] going to classes as expected [K]."""
    some = expected > 0
    if some.sum() < 2:
        return 1.0
    distance = float(((own.sum(0) - expected)[some] ** 2 / expected[some]).sum())
    return float(stats.chi2.sf(distance, int(some.sum()) - 1))
