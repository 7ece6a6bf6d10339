"""The contract of detectors: scikit-learn's conventions, over models in place of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from molehunt.arrays import Floats
from molehunt.detectors._calibration import conformal_p_values
from molehunt.detectors._zoo_contract import ZooContract
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.findings import Finding, Picture
from molehunt.networks import Access, Classifier, InputContract
from molehunt.progress import Progress, silent


class Detector(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn is untyped
    """Decides about models: 1 where one has what is looked for, such as a backdoor, else 0.

    ``__init__`` only stores keyword settings; learned attributes end in ``_``. There are
    two kinds: `MetaClassifier` learns from many models, `ZooFreeDetector` judges at once.

    Attributes
    ----------
    input_shape_ : (channels, height, width)
    num_classes_ : int
    threshold_ : float
        ``predict`` says 1 above it; the conformal one after `calibrate`.
    calibration_scores_ : array [n], scores of the clean calibration models
    contract_ : ZooContract
        What the models that it learned from do to pixels.
    """

    # What it must have of a subject.
    needs: ClassVar[frozenset[Access]]
    # Whether it is given clean images, as the setting `images`.
    needs_images: ClassVar[bool] = False
    # What a detector must have learned to be worth a file.
    learns: ClassVar[str]
    # What a file of it must hold, and the axes of arrays: a letter is one length in all of them.
    learned: ClassVar[frozenset[str]] = frozenset({"threshold_", "input_shape_", "num_classes_"})
    axes: ClassVar[Mapping[str, str]] = {"calibration_scores_": "n"}
    # Settings with which it is quick to fit, for tests; the rest are the defaults.
    tiny: ClassVar[Mapping[str, Any]] = {}
    # Whether it must be fitted on a zoo before it can judge.
    needs_zoo: ClassVar[bool] = False
    # Whether it judges many models at once, in milliseconds each.
    judges_many: ClassVar[bool] = False
    # Whether a scan that nobody told what to run leaves the verdict to it, at the whole rate.
    decides_alone: ClassVar[bool] = False
    # The null that is in use before `calibrate`, in words.
    own_null: ClassVar[str | None] = None
    # Whether clean models of the development zoos met it at the stated rate; see
    # docs/detectors.md. An alarm by a null that they did not meet is a suspicion only.
    own_null_holds: ClassVar[bool] = False
    # Who waits for a judgement may look on.
    progress: Progress = staticmethod(silent)

    @abstractmethod
    def fit(
        self, models: Sequence[Classifier], y: ArrayLike, *, progress: Progress = silent
    ) -> Self:
        """Learn from models and their truth."""

    def check_learned(self) -> None:
        """Refuse what a file of a stranger gave it and no fit gives; arrays fit `axes` already.

        Raises
        ------
        InvalidRequestError
            With the attribute.
        """

    def memory_to_fit(self, models: Sequence[Classifier]) -> int | None:
        """Return about how many bytes `fit` will take; None if that is the same for any zoo."""
        return None

    @abstractmethod
    def calibrate(
        self, models: Sequence[Classifier], y: ArrayLike, *, max_false_alarms: float = 0.05
    ) -> Self:
        """Learn what is normal from models of label 0 that were not fitted on."""

    @abstractmethod
    def decision_function(self, models: Sequence[Classifier]) -> Floats:
        """Return a score for each model, [N], higher for more suspicious."""

    @abstractmethod
    def predict_proba(self, models: Sequence[Classifier]) -> Floats:
        """Return the probabilities [N, 2] of the labels 0 and 1."""

    @abstractmethod
    def judge(
        self, models: Sequence[Classifier], rates: Sequence[float], name: str = "detector"
    ) -> Iterator[Finding]:
        """Yield what a scan says of each model, under `name`.

        Parameters
        ----------
        models : sequence of Classifier, length N
        rates : sequence of float, length N
            How many clean models may be called backdoored, in (0, 1).
        name : str

        Raises
        ------
        UnsuitableSubjectError
            Where a detector that judges many at once does not fit one of them.
        """

    def exhibits(self) -> tuple[Picture, ...]:
        """Return what there is to see of the detector itself."""
        return ()

    def passes(self, classes: int) -> int:
        """Return how many images go forward and backward through a model of so many classes."""
        return 0

    def predict(self, models: Sequence[Classifier]) -> NDArray[np.int64]:
        """Return 1 where the score is above `threshold_`, else 0."""
        above = self.decision_function(models) > float(self.threshold_)
        return above.astype(np.int64)

    def p_values(self, scores: ArrayLike) -> Floats:
        """Return the conformal p-value of each score; needs `calibrate`."""
        self._check_is_fitted("calibration_scores_")
        return conformal_p_values(scores, self.calibration_scores_)

    @property
    def is_calibrated(self) -> bool:
        """Whether the p-values are against clean reference models."""
        return hasattr(self, "calibration_scores_")

    @property
    def calibration_scores(self) -> Floats:
        """Scores [n] of the clean reference models; none before `calibrate`."""
        return np.asarray(getattr(self, "calibration_scores_", ()), dtype=np.float64)

    @property
    def null(self) -> str | None:
        """In words, what the p-values are against; None where there can be none yet."""
        if self.is_calibrated:
            return f"{len(self.calibration_scores)} clean reference models"
        return self.own_null

    def null_for(self, classes: int) -> str | None:
        """In words, what a p-value of a model of so many classes is against; see `null`."""
        return self.null

    def null_holds(self, classes: int, rate: float) -> bool:
        """Return whether clean models of so many classes met the null at this rate."""
        return self.is_calibrated or self.own_null_holds

    def doubt_of_clean(self, classes: int, rate: float = 0.05) -> str:
        """Return why finding nothing at a rate does not make a model of so many classes clean.

        Empty where it does, as far as this detector goes.
        """
        return ""

    def check_subject(self, model: Classifier) -> None:
        """Refuse a model that this detector cannot judge.

        Raises
        ------
        UnsuitableSubjectError
            With the property that does not fit.
        """
        missing = sorted(self.needs - model.gives)
        if missing:
            given = ", ".join(sorted(model.gives))
            raise UnsuitableSubjectError(
                mismatch("access to the model", ", ".join(missing), f"{given} only")
            )
        card = model.card
        shape = getattr(self, "input_shape_", card.input_shape)
        if card.input_shape != shape:
            raise UnsuitableSubjectError(
                mismatch("input shape of the model", shape, card.input_shape)
            )
        classes = getattr(self, "num_classes_", card.num_classes)
        if card.num_classes != classes:
            raise UnsuitableSubjectError(
                mismatch("classes of the model", classes, card.num_classes)
            )
        if not model.is_finite():
            raise UnsuitableSubjectError(
                mismatch("weights of the model", "finite numbers", "NaN or infinity")
            )
        if model.answers.doubt and self.needs & {Access.LOGITS, Access.GRADIENTS}:
            raise UnsuitableSubjectError(model.answers.doubt)
        self._check_claim(model)

    def _check_claim(self, model: Classifier) -> None:
        """Refuse a contract that only the model's file states, and that is not the zoo's."""
        contract: ZooContract | None = getattr(self, "contract_", None)
        if model.vouched or contract is None or not self.needs & {Access.LOGITS, Access.GRADIENTS}:
            return
        difference = contract.difference(model.card)
        if difference:
            raise UnsuitableSubjectError(
                f"the file's own card claims another input contract than the zoo's models have "
                f"({difference}); state the contract that you know to be right (`mean`, `std`)"
            )

    def _take_contract(self, cards: Iterable[InputContract]) -> None:
        """Remember what models do to pixels, beside those before."""
        contract = ZooContract.of(cards)
        known: ZooContract | None = getattr(self, "contract_", None)
        self.contract_ = contract if known is None else known.join(contract)

    def _check_each(self, models: Sequence[Classifier]) -> Sequence[Classifier]:
        """Return the same models, each checked when it is taken."""
        return _Checked(self, models)

    def _check_is_fitted(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            step = "calibrate" if attribute.startswith(("calibration", "typical")) else "fit"
            raise NotFittedError(f"{type(self).__name__}: call {step} first")


def check_labels(models: Sequence[Classifier], y: ArrayLike) -> NDArray[np.int64]:
    """Return labels as int64 [N], one a model.

    Raises
    ------
    InvalidRequestError
        If there are more or fewer than models, or others than 0 and 1.
    """
    truth = np.asarray(y)
    if truth.shape != (len(models),) or not np.isin(truth, (0, 1)).all():
        allowed = f"{len(models)} labels in {{0, 1}}"
        raise InvalidRequestError(mismatch("y", allowed, f"shape {truth.shape}"))
    return truth.astype(np.int64)


def find_null(
    models: Sequence[Classifier], y: ArrayLike, max_false_alarms: float
) -> NDArray[np.bool_]:
    """Return which calibration models have label 0, bool [N]: the null of the p-values.

    Raises
    ------
    InvalidRequestError
        If none is, or the rate is outside (0, 1).
    """
    if not 0 < max_false_alarms < 1:
        raise InvalidRequestError(
            mismatch("max_false_alarms", "a number in (0, 1)", max_false_alarms)
        )
    null: NDArray[np.bool_] = np.asarray(y) == 0
    if null.shape != (len(models),) or not null.any():
        allowed = "some clean models (label 0)"
        raise InvalidRequestError(mismatch("calibration", allowed, np.asarray(y).tolist()))
    return null


class _Checked(Sequence[Classifier]):
    """Models that are checked against a detector as they are taken."""

    def __init__(self, detector: Detector, models: Sequence[Classifier]) -> None:
        self._detector = detector
        self._models = models

    def __len__(self) -> int:
        return len(self._models)

    def __getitem__(self, index: int) -> Classifier:  # type: ignore[override]
        """Return one model after checking it."""
        model = self._models[index]
        self._detector.check_subject(model)
        return model
