"""A meta-classifier: it learns from many models what their labels say of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molehunt.arrays import Floats
from molehunt.detectors._base import Detector, check_labels, find_null
from molehunt.detectors._calibration import conformal_threshold
from molehunt.detectors._file_checks import check_number
from molehunt.detectors._judging import interpret
from molehunt.detectors._zoo_contract import ZooContract
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.findings import Exhibit, Finding, Status
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent


class MetaClassifier(Detector):
    """A linear head over features of models, learned from many models and their labels.

    It learns whatever the labels say of the models: whether one is backdoored, was trained
    on a record, or on data with a property. A population hands models and labels.

    A subclass gives `_learn` and `_features`, and sets `weights_`, `bias_`: the score is
    linear in the features and is the log odds of label 1 among the fitting models.

    Attributes
    ----------
    weights_, bias_ : linear head over the features, [F] and []
    threshold_ : float
        0 after `fit`, the conformal one after `calibrate`.
    calibration_features_ : array [n, F], features of the calibration models of label 0
    fitted_features_ : array [N, F], features of all fitting models
    typical_distance_ : float
        Largest distance of a calibration model's features from the fitting models'.
    """

    learns = "weights_"
    learned = Detector.learned | {"weights_", "bias_", "fitted_features_"}
    axes: ClassVar[Mapping[str, str]] = {
        **Detector.axes,
        "calibration_features_": "nF",
        "fitted_features_": "NF",
        "weights_": "F",
    }
    needs_zoo = True
    judges_many = True

    # ---- what a subclass gives

    @abstractmethod
    def _learn(
        self, models: Sequence[Classifier], y: NDArray[np.int64], progress: Progress
    ) -> None:
        """Learn from models that are checked as they are taken."""

    @abstractmethod
    def _features(self, models: Sequence[Classifier]) -> Floats:
        """Return the features [N, F] of models that were checked."""

    # ---- what is done with it

    def check_learned(self) -> None:
        """Refuse what no fit gives; raises as `Detector.check_learned` does."""
        super().check_learned()
        check_number("bias_", self.bias_)
        if hasattr(self, "calibration_scores_") or hasattr(self, "typical_distance_"):
            check_number("typical_distance_", getattr(self, "typical_distance_", None))

    def fit(
        self, models: Sequence[Classifier], y: ArrayLike, *, progress: Progress = silent
    ) -> Self:
        """Learn from models and their truth.

        Parameters
        ----------
        models : sequence of Classifier, length N
            All with the same input shape and number of classes.
        y : array of int, shape [N]
            Labels, 0 or 1; both must occur.
        progress : callable
            Called with the steps done and their total, by detectors that take their time.

        Raises
        ------
        InvalidRequestError
            If `y` does not fit the models.
        UnsuitableSubjectError
            If a model differs in shape or classes from the first, or is not finite.
        """
        truth = check_labels(models, y)
        if len(np.unique(truth)) < 2:
            raise InvalidRequestError(
                mismatch("y", "labels of both kinds, 0 and 1", truth.tolist())
            )
        card = models[0].card
        self.input_shape_ = card.input_shape
        self.num_classes_ = card.num_classes
        self.__dict__.pop("contract_", None)
        # One plan trains them, so that the first model stands for all that are fitted on.
        self._take_contract([card])
        self._learn(self._check_each(models), truth, progress)
        self.threshold_ = 0.0
        return self

    def calibrate(
        self, models: Sequence[Classifier], y: ArrayLike, *, max_false_alarms: float = 0.05
    ) -> Self:
        """Learn what is normal from models that were not fitted on.

        Scores of those of label 0 become the null of the p-values. Distances of all of them
        from the fitting models tell what is typical.

        Raises
        ------
        InvalidRequestError
            If there is no model of label 0, or the rate is outside (0, 1).
        """
        null = find_null(models, y, max_false_alarms)
        features = self.transform(models)
        self._take_contract(models[position].card for position in range(len(models)))
        self.calibration_features_ = features[null]
        self.calibration_scores_ = self.score_features(self.calibration_features_)
        self.typical_distance_ = float(self._distance(features).max())
        self.threshold_ = conformal_threshold(self.calibration_scores_, max_false_alarms)
        return self

    def transform(self, models: Sequence[Classifier]) -> Floats:
        """Return what the detector looks at, [N, F]; raises as `decision_function` does."""
        self._check_is_fitted("weights_")
        return self._features(self._check_each(models))

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
        """Return the probabilities [N, 2] of the labels 0 and 1, for balanced fitting models."""
        ones = 0.5 * (1 + np.tanh(self.decision_function(models) / 2))
        return np.stack([1 - ones, ones], axis=1)

    def judge(
        self, models: Sequence[Classifier], rates: Sequence[float], name: str = "detector"
    ) -> Iterator[Finding]:
        """Yield what a scan says of each model; raises as `decision_function` does."""
        features = self.transform(models)
        scores = self.score_features(features)
        for n, (row, score, rate) in enumerate(zip(features, scores, rates, strict=True)):
            p_value = float(self.p_values([score])[0]) if self.is_calibrated else None
            read = interpret(self, name, float(score), p_value, rate, self.num_classes_)
            if not np.isfinite(row).all():
                message = mismatch("answers of the model", "finite numbers", "NaN or infinity")
                yield replace(read, status=Status.INCONCLUSIVE, message=message, p_value=None)
                continue
            # Detector files of before know no contract.
            contract: ZooContract | None = getattr(self, "contract_", None)
            other = "" if contract is None else contract.strange_network(models[n].card)
            if read.p_value is not None and other:
                # Clean ones scored as backdoored models do (docs/detectors.md).
                message = f"another network ({other}), so p = {read.p_value:.2g} means nothing"
                read = replace(read, status=Status.INCONCLUSIVE, message=message)
            elif read.p_value is not None and not self.is_typical(row[None])[0]:
                read = self._doubt(read, row[None])
            yield replace(read, exhibits=(*read.exhibits, *self._draw(row)))

    def _doubt(self, finding: Finding, features: Floats) -> Finding:
        """Return what is left of a finding about a model that calibration models are unlike.

        A backdoor that the detector never saw is far from clean models because it is one. So
        an alarm stands where the model is no farther from the zoo than one of the fitting
        models would be, had it not been fitted on. Farther out, clean models of other recipes
        score as backdoored ones do (docs/detectors.md).
        """
        if finding.status is Status.FOUND and self.is_familiar(features)[0]:
            remark = "farther from the zoo than its calibration models, not than its fitting models"
            return replace(finding, message=f"{finding.message}; {remark}")
        message = (
            f"unlike every model of the detector's zoo, so p = {finding.p_value:.2g} means nothing"
        )
        return replace(finding, status=Status.INCONCLUSIVE, message=message)

    def _draw(self, features: Floats) -> tuple[Exhibit, ...]:
        """Return what there is to see of a model's features [F]."""
        return ()

    def is_typical(self, features: Floats) -> NDArray[np.bool_]:
        """Tell which features [N, F] are no farther from fitting models than calibration ones are.

        A model that is as typical as the n calibration models fails with a chance of at
        most 1 / (n + 1).
        """
        self._check_is_fitted("typical_distance_")
        return self._distance(features) <= self.typical_distance_

    def is_familiar(self, features: Floats) -> NDArray[np.bool_]:
        """Tell which features [N, F] are no farther from fitting models than those from each other.

        A model like the N fitting models fails with a chance of at most 1 / (N + 1), as far as
        their having been fitted on moved none of them.
        """
        farthest = float(self._distance(None).max())
        return self._distance(features) <= farthest

    def score_features(self, features: Floats) -> Floats:
        """Return the scores [N] of features [N, F] that `transform` gave."""
        scores: Floats = features @ np.asarray(self.weights_, dtype=np.float64) + float(self.bias_)
        return scores

    def _distance(self, features: Floats | None) -> Floats:
        """Return the distance to the nearest fitting model, features scaled to unit spread.

        Without features: of each fitting model to the nearest other one.
        """
        from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415  heavy

        reference = np.asarray(self.fitted_features_, dtype=np.float64)
        spread = reference.std(axis=0) + 1e-6
        neighbours = NearestNeighbors(n_neighbors=1).fit(reference / spread)
        points = None if features is None else features / spread
        distances: Floats = neighbours.kneighbors(points)[0][:, 0]
        return distances
