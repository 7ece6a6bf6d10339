"""How well a detector tells a zoo's test models apart, with intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import clone

from molehunt.arrays import Floats
from molehunt.backdoors import Treatment
from molehunt.detectors._base import Detector
from molehunt.detectors._memory import GIB
from molehunt.detectors._verdict_counts import LEAST_POWER, Count, Verdicts, count_verdicts
from molehunt.detectors._zoo_free import ZooFreeDetector
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.findings import Verdict, find_verdict
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.zoo import Split, Zoo

BOOTSTRAPS = 2000

# Files are strangers': a rate of NaN would stand in verdicts.
Share = Annotated[float, Field(ge=0, le=1)]


class AucResult(BaseModel):
    """An area under the ROC curve with its 95 % bootstrap interval over models."""

    model_config = ConfigDict(frozen=True)

    auc: Share
    interval: tuple[Share, Share]

    def __str__(self) -> str:
        return f"{self.auc:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"


class NullRates(BaseModel):
    """What a detector's own null gives at the stated rate, without any reference model.

    `null` says in words what it is; rates are shares of clean and backdoored models.
    """

    model_config = ConfigDict(frozen=True)

    null: str
    false_alarm_rate: Share
    detection_rate: Share


class Evaluation(BaseModel):
    """What a detector scored on test models.

    Parameters
    ----------
    clean, backdoored, placebos : int
        Numbers of test models.
    auc, placebo, accuracy, false_alarm_rate, detection_rate : float
        `auc` of backdoored against clean, `placebo` of placebo against clean (0.5 is
        ideal), and at the threshold calibrated for `max_false_alarms`: `accuracy`,
        `false_alarm_rate` (share of clean models flagged) and `detection_rate`. They are
        of scores; a scan may abstain where a score is high.
    verdicts : Verdicts, optional
        What a scan by this detector alone says; files of before have none.
    null : str
        What the p-values behind these rates are against.
    uncalibrated : NullRates, optional
        The rates by the null of a detector that needs no zoo, where it has one.
    roc : (false positive rates, true positive rates)
    seconds_per_model : float
        Reading the file and judging, wall time.
    """

    model_config = ConfigDict(frozen=True)

    clean: Count
    backdoored: Count
    placebos: Count
    auc: AucResult
    placebo: AucResult | None
    max_false_alarms: Share
    accuracy: Share
    false_alarm_rate: Share
    detection_rate: Share
    verdicts: Verdicts | None = None
    null: str | None = None
    uncalibrated: NullRates | None = None
    roc: tuple[list[Share], list[Share]]
    seconds_per_model: float = Field(ge=0, allow_inf_nan=False)

    @property
    def power(self) -> float:
        """Share of the backdoored models that a scan called backdoored."""
        if self.verdicts is None:
            return self.detection_rate
        return self.verdicts.backdoored.share_detected


def auc_with_interval(
    negatives: ArrayLike, positives: ArrayLike, *, random_state: int = 0
) -> AucResult:
    """Return the AUC of `positives` over `negatives` with a stratified bootstrap interval.

    Examples
    --------
    >>> print(auc_with_interval([0.1, 0.2, 0.3], [0.9, 0.8, 0.7]))
    1.000 [1.000, 1.000]
    """
    low, high = np.asarray(negatives, dtype=float), np.asarray(positives, dtype=float)
    wins = _wins(low, high)
    rng = np.random.default_rng(random_state)
    drawn = [
        float(
            wins[
                np.ix_(
                    rng.integers(len(high), size=len(high)), rng.integers(len(low), size=len(low))
                )
            ].mean()
        )
        for _ in range(BOOTSTRAPS)
    ]
    return AucResult(auc=float(wins.mean()), interval=_middle_95(drawn))


def fit_on_zoo(
    detector: Detector,
    zoo: Zoo,
    *,
    max_false_alarms: float = 0.05,
    max_memory: int | None = None,
    progress: Progress = silent,
) -> Detector:
    """Fit `detector` on a zoo's fitting models and calibrate it on its calibration models.

    A detector that needs no zoo is only calibrated; the zoo needs no fitting models.

    Raises
    ------
    InvalidRequestError
        If one of these parts lacks clean or backdoored models, or if fitting would take
        more than `max_memory` bytes.
    """
    if not isinstance(detector, ZooFreeDetector):
        models, truth = zoo.labelled(Split.FIT)
        if max_memory is not None:
            _check_memory(detector, models, max_memory)
        detector.fit(models, truth, progress=progress)
    models, truth = zoo.labelled(Split.CALIBRATION)
    return detector.calibrate(models, truth, max_false_alarms=max_false_alarms)


def _check_memory(detector: Detector, models: Sequence[Classifier], limit: int) -> None:
    needed = detector.memory_to_fit(models)
    if needed is not None and needed > limit:
        raise InvalidRequestError(
            mismatch(
                f"memory to fit {type(detector).__name__} on {len(models)} models",
                f"{limit / GIB:.2f} GiB or less (`max_memory`)",
                f"about {needed / GIB:.2f} GiB; fewer or smaller models take less",
            )
        )


def evaluate(
    detector: Detector, zoo: Zoo, *, split: Split = Split.TEST, max_false_alarms: float = 0.05
) -> Evaluation:
    """Score a fitted and calibrated detector on a split of a zoo.

    A detector that needs no zoo may be fresh, if it has a null of its own.

    Raises
    ------
    InvalidRequestError
        If the split lacks clean or backdoored models, or the detector was fitted on it.
    UnsuitableSubjectError
        If the detector does not fit the zoo's models.
    """
    if split is Split.FIT:
        raise InvalidRequestError(mismatch("split to evaluate on", "calibration or test", split))
    models, truth = zoo.labelled(split)
    started = time.perf_counter()
    scores, p_values, own, verdicts = _judge(detector, models, max_false_alarms)
    seconds = (time.perf_counter() - started) / len(models)
    backdoored = np.asarray(truth, dtype=bool)
    flagged = p_values <= max_false_alarms
    from sklearn.metrics import roc_curve  # noqa: PLC0415  heavy

    rates, hits, _ = roc_curve(truth, scores)
    placebos = zoo.select(split, Treatment.PLACEBO)
    return Evaluation(
        clean=int((~backdoored).sum()),
        backdoored=int(backdoored.sum()),
        placebos=len(placebos),
        auc=auc_with_interval(scores[~backdoored], scores[backdoored]),
        placebo=(
            auc_with_interval(scores[~backdoored], detector.decision_function(zoo.models(placebos)))
            if placebos
            else None
        ),
        max_false_alarms=max_false_alarms,
        accuracy=float((flagged == backdoored).mean()),
        false_alarm_rate=float(flagged[~backdoored].mean()),
        detection_rate=float(flagged[backdoored].mean()),
        verdicts=_verdicts_of(verdicts, backdoored),
        null=detector.null,
        uncalibrated=_rate_by_own_null(detector, own, backdoored, max_false_alarms),
        roc=(rates.tolist(), hits.tolist()),
        seconds_per_model=seconds,
    )


def _verdicts_of(verdicts: Sequence[Verdict], backdoored: NDArray[np.bool_]) -> Verdicts:
    """Return the counts of a scan by a detector of this power."""
    counts = Verdicts(
        backdoored=count_verdicts(verdicts[int(n)] for n in np.flatnonzero(backdoored)),
        clean=count_verdicts(verdicts[int(n)] for n in np.flatnonzero(~backdoored)),
    )
    enough = counts.backdoored.share_detected >= LEAST_POWER
    return counts if enough else counts.withhold_clean()


def _judge(
    detector: Detector, models: Sequence[Classifier], rate: float
) -> tuple[Floats, Floats, list[float | None], list[Verdict]]:
    """Return scores, the p-values in use, those by a detector's own null, and a scan's verdicts."""
    if not isinstance(detector, ZooFreeDetector):
        findings = list(detector.judge(models, [rate] * len(models)))
        scores = np.array([finding.score for finding in findings], dtype=np.float64)
        p_values, own = detector.p_values(scores), []
    else:
        found = [detector.examine(models[position]) for position in range(len(models))]
        scores = np.array([item.score for item in found])
        p_values = np.array([detector.p_value_of(item) for item in found])
        own = [item.p_value for item in found]
        findings = [detector.read(item, models[n], rate) for n, item in enumerate(found)]
    return scores, p_values, own, [find_verdict([finding]) for finding in findings]


def _rate_by_own_null(
    detector: Detector, own: list[float | None], backdoored: NDArray[np.bool_], rate: float
) -> NullRates | None:
    if not isinstance(detector, ZooFreeDetector) or detector.own_null is None:
        return None
    flagged = np.array(own, dtype=float) <= rate
    return NullRates(
        null=detector.own_null,
        false_alarm_rate=float(flagged[~backdoored].mean()),
        detection_rate=float(flagged[backdoored].mean()),
    )


def shuffled_control(
    detector: Detector,
    zoo: Zoo,
    *,
    repeats: int = 5,
    random_state: int = 0,
    progress: Progress = silent,
) -> AucResult:
    """Fit clones of `detector` on shuffled labels and return their AUC on the test models.

    Its interval must contain 0.5: a detector that learns from labels that mean nothing
    can know nothing. A single shuffle finds some direction or other and may land far
    from 0.5 by chance, so several are averaged, and the bootstrap draws shuffles as
    well as models.

    Raises
    ------
    InvalidRequestError
        If the detector learns from no labels, or a part lacks a kind of model.
    """
    if isinstance(detector, ZooFreeDetector):
        raise InvalidRequestError(
            mismatch("shuffled labels", "a detector that learns from them", type(detector).__name__)
        )
    models, truth = zoo.labelled(Split.FIT)
    tests, test_truth = zoo.labelled(Split.TEST)
    backdoored = np.asarray(test_truth, dtype=bool)
    rng = np.random.default_rng(random_state)
    scores = []
    for repeat in range(repeats):
        fitted = clone(detector).fit(models, shuffled_labels(np.asarray(truth), rng))
        found = fitted.decision_function(tests)
        scores.append((found[~backdoored], found[backdoored]))
        progress(repeat + 1, repeats)
    return auc_over_shuffles(scores, rng)


def auc_over_shuffles(
    scores: Sequence[tuple[ArrayLike, ArrayLike]], rng: np.random.Generator
) -> AucResult:
    """Return the mean AUC of detectors that were fitted on shuffled labels.

    Parameters
    ----------
    scores : sequence of (clean, backdoored)
        The same test models' scores by each of the detectors.
    rng : numpy.random.Generator
        Draws the bootstrap: models, anew for each shuffle drawn.
    """
    table = np.stack(
        [_wins(np.asarray(low, dtype=float), np.asarray(high, dtype=float)) for low, high in scores]
    )
    repeats, positives, negatives = table.shape
    drawn = []
    for _ in range(BOOTSTRAPS):
        values = [
            table[
                np.ix_(
                    [shuffle],
                    rng.integers(positives, size=positives),
                    rng.integers(negatives, size=negatives),
                )
            ].mean()
            for shuffle in rng.integers(repeats, size=(repeats,))
        ]
        drawn.append(float(np.mean(values)))
    return AucResult(auc=float(table.mean()), interval=_middle_95(drawn))


def shuffled_labels(truth: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return labels that say nothing: 1 for half of the backdoored and half of the clean.

    A plain permutation of 100 labels agrees with the truth on 45 or 55 of them as often
    as not, which is a signal that a good detector picks up (one way or the other).
    """
    labels = np.zeros_like(truth)
    for kind in (0, 1):
        members = rng.permutation(np.flatnonzero(truth == kind))
        half = (len(members) + int(rng.integers(2))) // 2
        labels[members[:half]] = 1
    return labels


def _wins(low: Floats, high: Floats) -> Floats:
    """Return 1 where a positive's score is above a negative's, 0.5 for ties: [P, N]."""
    wins: Floats = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    return wins


def _middle_95(values: list[float]) -> tuple[float, float]:
    bounds = np.quantile(values, [0.025, 0.975])
    return float(bounds[0]), float(bounds[1])
