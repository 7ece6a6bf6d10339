"""Property inference: what the training data were like as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molehunt.arrays import Floats
from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._risk import Measure, Reference, RiskStatus
from molehunt.detectors import UnitStatistics, auc_with_interval
from molehunt.errors import UnsuitableSubjectError, printable
from molehunt.networks import Classifier, Reveals, architecture_key
from molehunt.zoo import PropertyFacts

_LEAST_AUC, _FEWEST, _MOST, _FOLDS = 0.7, 10, 400, 5
_BUILD = (
    "molehunt zoo build POPULATION --set 'properties.classes=[0,2,4]' --set models.test.placebo=0"
)


class Property(Assessor):
    """Where the model's score for a property stands among models without it.

    `UnitStatistics` (Ganju et al., 2018) learn the property from four fifths of the population
    and score the rest and the model, five times; pairs stay together. So no model of the
    population is scored by who learned from it. Controls: the area under the curve of those
    scores, which has to reach 0.7, and that the model is no stranger to the population.
    """

    name = "property"
    title = "What the training data were like"
    share = 0.1  # it asks nothing; the share is what commands name
    measures = ("score", "auc")

    def obstacle(self, case: Case) -> str:
        """It takes weights, and models of one kind whose property is known."""
        if case.reveals is not Reveals.WEIGHTS:
            return "it takes weights"
        if case.population is None:
            return (
                "it takes models with and without a property, as --reference: a population of "
                f"networks like this one, such as by {_BUILD}"
            )
        records = case.population.records
        facts = [each.facts for each in records if isinstance(each.facts, PropertyFacts)]
        if not facts:
            return (
                "the population of --reference is one of backdoors; one of a property is built "
                f"by {_BUILD}"
            )
        if len({each.name for each in facts}) > 1:
            return "the population of --reference has several properties"
        has = _truth([each.value for each in facts])
        if min(int(has.sum()), int((~has).sum())) < _FEWEST:
            return (
                f"the population of --reference has {int(has.sum())} models with the property and "
                f"{int((~has).sum())} without, {_FEWEST} of each are needed"
            )
        return ""

    def kept_as(self, case: Case) -> str:
        """Also by the models that it learns from."""
        if case.population is None:
            return self.name
        told = "".join(
            f"{record.sha256} {record.facts.model_dump_json()}\n"
            for record in case.population.records
        )
        return f"{self.name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    def measure(self, case: Case, purse: Purse) -> Found:
        """Learn the property, and score the model by each of the folds."""
        assert case.population is not None
        records = [
            record for record in case.population.records if isinstance(record.facts, PropertyFacts)
        ][:_MOST]
        facts = [each.facts for each in records if isinstance(each.facts, PropertyFacts)]
        has = _truth([each.value for each in facts])
        models = list(case.population.models(records))
        expected, got = architecture_key(models[0]), architecture_key(case.model)
        if expected != got:
            raise UnsuitableSubjectError(
                "the population's networks are of another architecture than the model"
            )
        crossed = _cross_scores(models, has, [each.pair for each in records], case)
        scores, mine = crossed.models, crossed.suspect
        area = auc_with_interval(scores[~has], scores[has], random_state=case.seed)
        better = int((scores < mine)[~has].sum())
        of, beside = int((~has).sum()), int(has.sum())
        p_value = (1 + of - better) / (1 + of)
        under = int((scores < mine)[has].sum())
        status, why = RiskStatus.MEASURED, ""
        if area.auc < _LEAST_AUC or area.interval[0] <= 0.5:
            status = RiskStatus.INCONCLUSIVE
            why = (
                f"the attack tells the population's own models hardly apart (area {area.auc:.2f}, "
                f"{_LEAST_AUC:g} is needed); more models may teach it more"
            )
        elif not crossed.typical:
            status = RiskStatus.INCONCLUSIVE
            why = "the model is unlike all of the population, so its score means nothing"
        values = sorted({each.value for each in facts})
        name = printable(facts[0].name, 80)
        return Found(
            words=f'For the property "{name}" the model scores above {better} of {of} models with '
            f"{values[0]:g} (p {p_value:.2g}), and above {under} of {beside} with {values[-1]:g}.",
            sees=Reveals.WEIGHTS,
            may="read the weights",
            measures=[
                Measure(name="score", value=float(mine.mean()), n=of, unit="log odds"),
                Measure(
                    name="auc", value=area.auc, interval=area.interval, n=len(has), unit="area"
                ),
            ],
            status=status,
            why=why,
            knowledge=f"{len(has)} models like it whose training data are known",
            reference=Reference(
                better=better,
                of=of,
                p_value=p_value,
                values=tuple(sorted(scores[~has].tolist())),
            ),
        )


def _truth(values: Sequence[float]) -> NDArray[np.bool_]:
    """Tell which models have the property: the values above the middle of least and most."""
    found = np.array(values)
    truth: NDArray[np.bool_] = found > (found.min() + found.max()) / 2
    return truth


@dataclass(frozen=True)
class _Scores:
    """Of each model by a fold that left it out, and of the suspect by that fold."""

    models: Floats
    suspect: Floats
    typical: bool  # whether most folds find the suspect as typical as the models they left out


def _cross_scores(
    models: Sequence[Classifier], has: NDArray[np.bool_], pairs: Sequence[int], case: Case
) -> _Scores:
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415  heavy

    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=case.seed)
    scores, mine, typical = np.zeros(len(models)), np.zeros(len(models)), 0
    for learned, left in folds.split(has, has, pairs):
        others = [models[at] for at in left]
        detector = UnitStatistics().fit([models[at] for at in learned], has[learned].astype(int))
        detector.calibrate(others, has[left].astype(int))
        scores[left] = detector.decision_function(others)
        features = detector.transform([case.model])
        mine[left] = detector.score_features(features)[0]
        typical += int(detector.is_typical(features)[0])
    return _Scores(scores, mine, typical > _FOLDS // 2)
