"""The contract of detectors: scikit-learn's conventions, over models in place of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors

from molehunt.arrays import Floats
from molehunt.detectors._calibration import conformal_p_values, conformal_threshold
from molehunt.detectors._zoo_contract import ZooContract
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, refused
from molehunt.networks import Access, Classifier, InputContract

OnStep = Callable[[int, int], None]


class Need(StrEnum):
    """What a detector takes from a subject, or must have learned from."""

    LOGITS = "logits"
    GRADIENTS = "gradients"
    WEIGHTS = "weights"
    CLEAN_IMAGES = "clean images"
    ZOO = "zoo"


class Detector(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn is untyped
    """Decides about models: 1 backdoored, 0 clean.

    ``__init__`` only stores keyword settings; learned attributes end in ``_``. There are
    two kinds: `ZooDetector` learns from a zoo, `ZooFreeDetector` judges at once.

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

    needs: ClassVar[frozenset[Need]]
    # What a detector must have learned to be worth a file.
    learns: ClassVar[str]

    @abstractmethod
    def fit(
        self, models: Sequence[Classifier], y: ArrayLike, *, on_step: OnStep | None = None
    ) -> Self:
        """Learn from models and their truth."""

    def memory_to_fit(self, models: Sequence[Classifier]) -> int | None:
        """Return about how many bytes `fit` will take; None if that is the same for any zoo."""
        return None

    @abstractmethod
    def calibrate(
        self, models: Sequence[Classifier], y: ArrayLike, *, max_false_alarms: float = 0.05
    ) -> Self:
        """Learn what is normal from clean models that were not fitted on."""

    @abstractmethod
    def decision_function(self, models: Sequence[Classifier]) -> Floats:
        """Return a score for each model, [N], higher for more suspicious."""

    @abstractmethod
    def predict_proba(self, models: Sequence[Classifier]) -> Floats:
        """Return the probabilities [N, 2] of clean and backdoored."""

    def predict(self, models: Sequence[Classifier]) -> NDArray[np.int64]:
        """Return 1 where the score is above `threshold_`, else 0."""
        above = self.decision_function(models) > float(self.threshold_)
        return above.astype(np.int64)

    def p_values(self, scores: ArrayLike) -> Floats:
        """Return the conformal p-value of each score; needs `calibrate`."""
        self._check_is_fitted("calibration_scores_")
        return conformal_p_values(scores, self.calibration_scores_)

    @property
    def null(self) -> str | None:
        """In words, what the p-values are against; None where there can be none yet."""
        if hasattr(self, "calibration_scores_"):
            return f"{len(self.calibration_scores_)} clean reference models"
        return None

    def doubt_of_clean(self, classes: int) -> str:
        """Return why finding nothing does not make a model of so many classes clean.

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
        wanted = {Access(need.value) for need in self.needs if need.value in set(Access)}
        missing = sorted(wanted - model.gives)
        if missing:
            given = ", ".join(sorted(model.gives))
            raise UnsuitableSubjectError(
                refused("access to the model", ", ".join(missing), f"{given} only")
            )
        card = model.card
        shape = getattr(self, "input_shape_", card.input_shape)
        if card.input_shape != shape:
            raise UnsuitableSubjectError(
                refused("input shape of the model", shape, card.input_shape)
            )
        classes = getattr(self, "num_classes_", card.num_classes)
        if card.num_classes != classes:
            raise UnsuitableSubjectError(refused("classes of the model", classes, card.num_classes))
        if not model.is_finite():
            raise UnsuitableSubjectError(
                refused("weights of the model", "finite numbers", "NaN or infinity")
            )
        if model.answers.doubt and self.needs & {Need.LOGITS, Need.GRADIENTS}:
            raise UnsuitableSubjectError(model.answers.doubt)
        self._check_claim(model)

    def _check_claim(self, model: Classifier) -> None:
        """Refuse a contract that only the model's file states, and that is not the zoo's."""
        contract: ZooContract | None = getattr(self, "contract_", None)
        if model.vouched or contract is None or not self.needs & {Need.LOGITS, Need.GRADIENTS}:
            return
        difference = contract.difference(model.card)
        if difference:
            raise UnsuitableSubjectError(
                f"the file's own card claims another input contract than the zoo's models have "
                f"({difference}); state the contract that you know to be right (--mean, --std)"
            )

    def _take_contract(self, cards: Iterable[InputContract]) -> None:
        """Remember what models do to pixels, beside those before."""
        contract = ZooContract.of(cards)
        known: ZooContract | None = getattr(self, "contract_", None)
        self.contract_ = contract if known is None else known.joined(contract)

    def _checked(self, models: Sequence[Classifier]) -> Sequence[Classifier]:
        """Return the same models, each checked when it is taken."""
        return _Checked(self, models)

    def _check_is_fitted(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            step = "calibrate" if attribute.startswith(("calibration", "typical")) else "fit"
            raise NotFittedError(f"{type(self).__name__}: call {step} first")


class ZooDetector(Detector):
    """A detector that learned a linear head over what it looks at, from a zoo.

    A subclass gives `_learn` and `_features`, and sets `weights_`, `bias_`: the score is
    linear in the features and is the log odds of a backdoor on the fitting zoo.

    Attributes
    ----------
    weights_, bias_ : linear head over the features, [F] and []
    threshold_ : float
        0 after `fit`, the conformal one after `calibrate`.
    calibration_features_ : array [n, F], features of the clean calibration models
    fitted_features_ : array [N, F], features of all fitting models
    typical_distance_ : float
        Largest distance of a calibration model's features from the fitting models'.
    """

    learns = "weights_"

    # ---- what a detector gives

    @abstractmethod
    def _learn(
        self, models: Sequence[Classifier], y: NDArray[np.int64], on_step: OnStep | None
    ) -> None:
        """Learn everything but the checks and the calibration."""

    @abstractmethod
    def _features(self, models: Sequence[Classifier]) -> Floats:
        """Return the features [N, F] of models that were checked."""

    # ---- what every detector does with it

    def fit(
        self, models: Sequence[Classifier], y: ArrayLike, *, on_step: OnStep | None = None
    ) -> Self:
        """Learn from models and their truth.

        Parameters
        ----------
        models : sequence of Classifier, length N
            All with the same input shape and number of classes.
        y : array of int, shape [N]
            1 for backdoored, 0 for clean; both must occur.
        on_step : callable, optional
            Called with the steps done and their total, by detectors that take their time.

        Raises
        ------
        InvalidRequestError
            If `y` does not fit the models.
        UnsuitableSubjectError
            If a model differs in shape or classes from the first, or is not finite.
        """
        truth = truth_of(models, y)
        if len(np.unique(truth)) < 2:
            raise InvalidRequestError(refused("y", "clean and backdoored models", truth.tolist()))
        card = models[0].card
        self.input_shape_ = card.input_shape
        self.num_classes_ = card.num_classes
        self.__dict__.pop("contract_", None)
        # One plan builds a zoo, so that the first model stands for all that are fitted on.
        self._take_contract([card])
        self._learn(models, truth, on_step)
        self.threshold_ = 0.0
        return self

    def calibrate(
        self, models: Sequence[Classifier], y: ArrayLike, *, max_false_alarms: float = 0.05
    ) -> Self:
        """Learn what is normal from models that were not fitted on.

        Scores of the clean ones become the null of the p-values. Distances of all of them
        from the fitting models tell what is typical of the zoo.

        Raises
        ------
        InvalidRequestError
            If there is no clean model, or the rate is outside (0, 1).
        """
        clean = clean_among(models, y, max_false_alarms)
        features = self.transform(models)
        self._take_contract(models[position].card for position in range(len(models)))
        self.calibration_features_ = features[clean]
        self.calibration_scores_ = self.score_features(self.calibration_features_)
        self.typical_distance_ = float(self._distance(features).max())
        self.threshold_ = conformal_threshold(self.calibration_scores_, max_false_alarms)
        return self

    def transform(self, models: Sequence[Classifier]) -> Floats:
        """Return what the detector looks at, [N, F]; raises as `decision_function` does."""
        self._check_is_fitted("weights_")
        return self._features(self._checked(models))

    def decision_function(self, models: Sequence[Classifier]) -> Floats:
        """Return a score for each model, higher for more suspicious: the head's log odds.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        UnsuitableSubjectError
            If a model has another input shape or number of classes, or is not finite.
        """
        return self.score_features(self.transform(models))

    def predict_proba(self, models: Sequence[Classifier]) -> Floats:
        """Return the probabilities [N, 2] of clean and backdoored, for a balanced zoo."""
        backdoored = 0.5 * (1 + np.tanh(self.decision_function(models) / 2))
        return np.stack([1 - backdoored, backdoored], axis=1)

    def is_typical(self, features: Floats) -> NDArray[np.bool_]:
        """Tell which features [N, F] are no farther from the zoo than calibration models are.

        A model that is as typical as the n calibration models fails with a chance of at
        most 1 / (n + 1).
        """
        self._check_is_fitted("typical_distance_")
        return self._distance(features) <= self.typical_distance_

    def score_features(self, features: Floats) -> Floats:
        """Return the scores [N] of features [N, F] that `transform` gave."""
        scores: Floats = features @ np.asarray(self.weights_, dtype=np.float64) + float(self.bias_)
        return scores

    def _distance(self, features: Floats) -> Floats:
        """Return the distance to the nearest fitting model, features scaled to unit spread."""
        reference = np.asarray(self.fitted_features_, dtype=np.float64)
        spread = reference.std(axis=0) + 1e-6
        neighbours = NearestNeighbors(n_neighbors=1).fit(reference / spread)
        distances: Floats = neighbours.kneighbors(features / spread)[0][:, 0]
        return distances


def truth_of(models: Sequence[Classifier], y: ArrayLike) -> NDArray[np.int64]:
    """Return labels as int64 [N], one a model.

    Raises
    ------
    InvalidRequestError
        If there are more or fewer than models, or others than 0 and 1.
    """
    truth = np.asarray(y)
    if truth.shape != (len(models),) or not np.isin(truth, (0, 1)).all():
        allowed = f"{len(models)} labels in {{0, 1}}"
        raise InvalidRequestError(refused("y", allowed, f"shape {truth.shape}"))
    return truth.astype(np.int64)


def clean_among(
    models: Sequence[Classifier], y: ArrayLike, max_false_alarms: float
) -> NDArray[np.bool_]:
    """Return which calibration models are clean, bool [N].

    Raises
    ------
    InvalidRequestError
        If none is, or the rate is outside (0, 1).
    """
    if not 0 < max_false_alarms < 1:
        raise InvalidRequestError(
            refused("max_false_alarms", "a number in (0, 1)", max_false_alarms)
        )
    clean: NDArray[np.bool_] = np.asarray(y) == 0
    if clean.shape != (len(models),) or not clean.any():
        raise InvalidRequestError(
            refused("calibration", "some clean models", np.asarray(y).tolist())
        )
    return clean


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
