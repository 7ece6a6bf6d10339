"""Where a risk stands among the same risks of honest models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from molehunt.assess._assess import Assessment, measure_risk
from molehunt.assess._case import Case
from molehunt.assess._registry import ASSESSORS
from molehunt.assess._risk import Measure, Reference, Risk
from molehunt.backdoors import Treatment
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.zoo import BackdoorFacts, Record, Zoo

MOST_MODELS = 39


def honest_records(zoo: Zoo, most: int = MOST_MODELS) -> list[Record]:
    """Return the first models of a population that no one tampered with.

    Clean ones of a population of backdoors, all of one of properties.

    Raises
    ------
    InvalidRequestError
        If there is none.
    """
    found = [
        record
        for record in zoo.records
        if not isinstance(record.facts, BackdoorFacts) or record.facts.treatment is Treatment.CLEAN
    ]
    if not found:
        raise InvalidRequestError(mismatch("`reference`", "a population with clean models", "none"))
    return found[:most]


def stand_among(
    assessment: Assessment,
    case: Case,
    zoo: Zoo,
    *,
    keep: Path,
    most: int = MOST_MODELS,
    progress: Progress = silent,
) -> Assessment:
    """Measure the same on honest models, with the same images and queries, and rank the model.

    Each honest model costs as much as the model did; what is kept is not measured again.

    Parameters
    ----------
    assessment : Assessment
    case : Case
        The one of the assessment.
    zoo : Zoo
        Its models have the model's input shape and classes.
    keep : Path
        Where measurements are kept, a file for each model and risk.
    most : int
        Models.
    progress : Progress
        In models.

    Raises
    ------
    InvalidRequestError
        If the population has no honest model, or none of this kind.
    """
    records = honest_records(zoo, most)
    measured = [
        risk
        for risk in assessment.risks
        if risk.measures and risk.price is not None and risk.reference is None
    ]
    if not measured:
        return assessment
    values: dict[str, list[Measure]] = {risk.name: [] for risk in measured}
    for number, (record, model) in enumerate(zip(records, zoo.models(records), strict=True)):
        other = replace(case, model=_checked(model, case).freeze())
        for risk in measured:
            assert risk.price is not None
            share = risk.price.budget
            found = measure_risk(other, ASSESSORS[risk.name], share, keep, record.sha256)
            if found.measures:
                values[risk.name].append(found.measures[0])
        progress(number + 1, len(records))
    risks = [rank(risk, values.get(risk.name, ())) for risk in assessment.risks]
    return replace(assessment, risks=tuple(risks))


def rank(risk: Risk, others: Sequence[Measure]) -> Risk:
    """Return a risk with its place among those of honest models; without them as it is.

    Examples
    --------
    >>> from molehunt.assess import Measure, Risk, RiskStatus, rank
    >>> def of(value):
    ...     return Measure(name="success", value=value, n=20)
    >>> risk = Risk(name="x", title="", status=RiskStatus.MEASURED, measures=(of(0.9),))
    >>> found = rank(risk, [of(0.1), of(0.9), of(0.5)]).reference
    >>> found.better, found.of, found.p_value
    (2, 3, 0.5)
    """
    if not others or not risk.measures:
        return risk
    mine = risk.measures[0]
    worse_than: Callable[[float, float], bool] = float.__gt__
    if mine.worse == "lower":
        worse_than = float.__lt__
    values = [each.value for each in others if each.value == each.value]
    better = sum(worse_than(mine.value, value) for value in values)
    p_value = (1 + len(values) - better) / (1 + len(values))
    reference = Reference(
        better=better, of=len(values), p_value=p_value, values=tuple(sorted(values))
    )
    return risk.model_copy(update={"reference": reference})


def _checked(model: Classifier, case: Case) -> Classifier:
    mine, its = case.model.card, model.card
    if (its.input_shape, its.num_classes) != (mine.input_shape, mine.num_classes):
        allowed = f"models of shape {mine.input_shape} and {mine.num_classes} classes"
        got = f"{its.input_shape} and {its.num_classes}"
        raise InvalidRequestError(mismatch("`reference`", allowed, got))
    return model
