"""Detectors that need no zoo: they examine one model and judge it by itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError

from molehunt.arrays import Floats
from molehunt.detectors._base import Detector, check_labels, find_null
from molehunt.detectors._calibration import conformal_threshold
from molehunt.detectors._judging import draw_trigger, interpret
from molehunt.detectors._reference import Reference, reference_for
from molehunt.detectors._verdict_counts import BACKDOOR_KINDS, LEAST_POWER
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.findings import BACKDOOR, Finding, Status
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval


@dataclass(frozen=True)
class Examination:
    """What a detector without a zoo found in one model.

    Parameters
    ----------
    score : float
        Higher for more suspicious.
    p_value : float, optional
        Against the detector's own null; None where it has none.
    statistics : array of float64, shape [K]
        One a class, higher for more suspicious; what they are, the detector says.
    target : int, optional
        The class that the evidence points at, where it points at one.
    source : int, optional
        The class that is turned into the target, where one is known.
    pattern : array of float32, shape [C, H, W], optional
        The reconstructed trigger, pixels in [0, 1].
    mask : array of float32, shape [H, W], optional
        How much of each of an image's pixels the trigger replaces, in [0, 1].
    remark : str
        What the score rests on, in words.
    """

    score: float
    p_value: float | None
    statistics: Floats = field(repr=False, compare=False)
    target: int | None
    source: int | None = None
    pattern: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    mask: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    remark: str = ""


class ZooFreeDetector(Detector):
    """A detector that examines a model by itself and says something about a first one.

    A fresh instance judges at once. `calibrate` on clean reference models of the same kind
    gives conformal p-values, whatever the scores' distribution; until then there are
    those of the detector's own null, where it has one, and they hold as far as that does:
    see `p_value_of`.

    A subclass gives `_examine`, and `own_null` if its examinations have p-values.

    Attributes
    ----------
    own_null : str or None
        The null of its examinations, in words.
    against, min_power : sequence of str, float
        Kinds of backdoors of which it must be known to find so large a share before a model
        counts as clean.
    reference : str
        Under which name the reference population has its scores, which are the null before
        `calibrate`; empty where it has none.
    threshold_ : float
        Infinite until `calibrate`: own nulls are of more than the score.
    """

    learns = "calibration_scores_"
    reference: ClassVar[str] = ""
    against: Sequence[str] = BACKDOOR_KINDS
    min_power: float = LEAST_POWER
    # A class is judged by the others, of which there must be some.
    least_classes: ClassVar[int] = 2

    @abstractmethod
    def _examine(self, model: Classifier) -> Examination:
        """Return what there is to say of a model that was checked."""

    def _check_settings(self) -> None:
        """Refuse settings that make no sense."""

    def reference_for(self, classes: int) -> Reference | None:
        """Return how models of the reference population score that have about as many classes.

        None after `calibrate`, and for settings other than those they were measured with.
        """
        if not self.reference or self.is_calibrated or not self._has_usual_settings():
            return None
        return reference_for(self.reference, classes)

    def compared(self, examination: Examination) -> float:
        """Return the number that is compared with the reference population: the score."""
        return examination.score

    def null_for(self, classes: int) -> str | None:
        """In words, what a p-value of a model of so many classes is against."""
        reference = self.reference_for(classes)
        return self.null if reference is None else f"{reference}"

    def null_holds(self, classes: int, rate: float) -> bool:
        """Return whether clean models of so many classes met the null at this rate.

        Those of the reference population do where the rate is in the 95 % interval of what
        it flags of them against other architectures, or over it.
        """
        reference = self.reference_for(classes)
        if reference is None:
            return super().null_holds(classes, rate)
        return rate_interval(*reference.false_alarms(rate))[0] <= rate

    def doubt_of_clean(self, classes: int, rate: float = 0.05) -> str:
        """Return why finding nothing does not make a model of so many classes clean.

        That is how little it finds of the reference population at this rate. By a null of its
        own a detector finds 2 to 100 % of the backdoored models, which depends on the images
        and the label map (docs/studies/scanners).
        """
        if self.is_calibrated:
            return ""
        reference = self.reference_for(classes)
        if reference is None:
            return "how many backdoors it finds by this null on models like this one is not known"
        power = reference.power(rate)
        weak = [
            f"{found} of {of} {kind}"
            for kind in self.against
            for found, of in [power.get(kind, (0, 0))]
            if found < self.min_power * max(1, of)
        ]
        return f"it finds {', '.join(weak)} backdoors of the reference population" if weak else ""

    def check_subject(self, model: Classifier) -> None:
        """Refuse a model that this detector cannot judge, also one of too few classes.

        Raises
        ------
        UnsuitableSubjectError
            With the property that does not fit.
        """
        super().check_subject(model)
        if model.card.num_classes < self.least_classes:
            allowed = f"{self.least_classes} or more"
            raise UnsuitableSubjectError(
                mismatch("classes of the model", allowed, model.card.num_classes)
            )

    def examine(self, model: Classifier) -> Examination:
        """Return the score of one model and what it rests on.

        Raises
        ------
        InvalidRequestError
            If a setting makes no sense, or clean images are needed and missing.
        UnsuitableSubjectError
            If the model does not give what the detector needs, has another shape or number
            of classes, or gives answers that are not finite.
        """
        self._check_settings()
        self.check_subject(model)
        model.freeze()
        examination = self._examine(model)
        if not np.isfinite(examination.score):
            raise UnsuitableSubjectError(
                mismatch("answers of the model", "finite numbers", "NaN or infinity")
            )
        return examination

    def fit(
        self,
        models: Sequence[Classifier],
        y: ArrayLike | None = None,
        *,
        progress: Progress = silent,
    ) -> Self:
        """Learn nothing but the shape and the number of classes that subjects must have.

        Raises
        ------
        InvalidRequestError
            If a setting makes no sense, there is no model, or `y` does not fit the models.
        UnsuitableSubjectError
            If the first model cannot be judged.
        """
        self._check_settings()
        if y is not None:
            check_labels(models, y)
        if not len(models):
            raise InvalidRequestError(mismatch("models", "at least one", "none"))
        self._take_kind_of(models[0])
        if self.is_calibrated:
            del self.calibration_scores_
        self.threshold_ = np.inf
        return self

    def calibrate(
        self, models: Sequence[Classifier], y: ArrayLike, *, max_false_alarms: float = 0.05
    ) -> Self:
        """Score clean reference models (0 in `y`), whose scores become the null.

        Raises
        ------
        InvalidRequestError
            If there is no clean model, or the rate is outside (0, 1).
        UnsuitableSubjectError
            If a reference model cannot be judged.
        """
        self._check_settings()
        clean = np.flatnonzero(find_null(models, y, max_false_alarms)).tolist()
        self._take_kind_of(models[clean[0]])
        self.calibration_scores_ = np.array([self.examine(models[n]).score for n in clean])
        self.__dict__.pop("contract_", None)
        self._take_contract(models[n].card for n in clean)
        self.threshold_ = conformal_threshold(self.calibration_scores_, max_false_alarms)
        return self

    def decision_function(self, models: Sequence[Classifier]) -> Floats:
        """Return the scores [N] of the models' examinations; raises as `examine` does."""
        return np.array(
            [self.examine(models[position]).score for position in range(len(models))],
            dtype=np.float64,
        )

    def predict_proba(self, models: Sequence[Classifier]) -> Floats:
        """Return [N, 2]: a logistic curve over the score that is 0.5 at `threshold_`.

        No more than an order from 0 to 1: without a zoo there are no odds.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `calibrate`.
        """
        self._check_is_fitted("calibration_scores_")
        distance = self.decision_function(models) - self.threshold_
        suspicion = 0.5 * (1 + np.tanh(distance / 2))
        return np.stack([1 - suspicion, suspicion], axis=1)

    def predict(self, models: Sequence[Classifier]) -> NDArray[np.int64]:
        """Return 1 where the score is above `threshold_`, else 0.

        Before `calibrate` 1 is where `p_value_of` is at most 0.05.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the detector has no null and was not calibrated.
        """
        if self.is_calibrated:
            return super().predict(models)
        found = [self.p_value_of(self.examine(models[n])) for n in range(len(models))]
        return (np.array(found) <= 0.05).astype(np.int64)

    def p_value_of(self, examination: Examination) -> float:
        """Return the p-value against what `null_for` says: conformal, or by the own null.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the detector has no null of its own and was not calibrated.
        """
        if self.is_calibrated:
            return float(self.p_values([examination.score])[0])
        reference = self.reference_for(len(examination.statistics))
        if reference is not None:
            return reference.p_value(self.compared(examination))
        if examination.p_value is None:
            raise NotFittedError(f"{type(self).__name__}: no null of its own; call calibrate first")
        return examination.p_value

    def judge(
        self, models: Sequence[Classifier], rates: Sequence[float], name: str = "detector"
    ) -> Iterator[Finding]:
        """Yield what a scan says of each model; inconclusive where it cannot be judged."""
        for position, rate in enumerate(rates):
            model = models[position]
            try:
                found = self.examine(model)
            except UnsuitableSubjectError as error:
                yield Finding(name, Status.INCONCLUSIVE, str(error), BACKDOOR)
                continue
            yield self.read(found, model, rate, name)

    def read(
        self, found: Examination, model: Classifier, rate: float, name: str = "detector"
    ) -> Finding:
        """Return what a scan says of a model that was examined; see `judge`."""
        p_value = None if self.null is None else self.p_value_of(found)
        finding = interpret(self, name, found.score, p_value, rate, model.card.num_classes)
        if found.remark and finding.p_value is not None and finding.p_value <= rate:
            finding = replace(finding, message=f"{finding.message}; {found.remark}")
        pictures = draw_trigger(found, model.card, getattr(self, "images", None))
        return replace(finding, target=found.target, exhibits=(*pictures, *finding.exhibits))

    def _has_usual_settings(self) -> bool:
        usual = type(self)().get_params()
        return all(
            value == usual[name]
            for name, value in self.get_params().items()
            if name not in ("device", "batch_size", "random_state")
        )

    def _take_kind_of(self, model: Classifier) -> None:
        self.input_shape_ = model.card.input_shape
        self.num_classes_ = model.card.num_classes
        self.check_subject(model)
