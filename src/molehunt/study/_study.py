"""What a study is, and the plan that a run of it asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure
from pydantic import BaseModel, ValidationError

from molehunt.errors import InvalidRequestError, from_validation, mismatch
from molehunt.study._report import Report
from molehunt.study._stages import Bench, Records, Stage, ZooStage

P = TypeVar("P", bound=BaseModel)
B = TypeVar("B", bound=Bench[Any])
Results = dict[str, Any]


def _no_pictures(bench: Any, results: Results) -> Mapping[str, Figure]:
    return {}


def _no_films(bench: Any, results: Results) -> Mapping[str, bytes]:
    return {}


def _as_it_is(plan: Any) -> Any:
    return plan


@dataclass(frozen=True)
class Study(Generic[P, B]):
    """An experiment of a paper.

    Parameters
    ----------
    name : str
    title : str
        What it is about, in a line.
    scales : mapping
        A plan for each scale. Fields that do not determine what the stages make have
        ``exclude=True``: a run may go on with other values of those.
    bench : type
    stages : sequence of Stage and ZooStage
    measures : callable
        From the bench and all records to the figures, as ``results.json`` holds them.
    report : Report
    pictures : callable
        From the bench and the figures to pictures that need images or models. Figures that
        follow from ``results.json`` alone are the report's.
    films : callable
        The same for GIFs.
    part : str, optional
        Under which key the figures stand in a report that several studies share.
    unit : str
        What the stages make, for the line that says how many are new.
    folder : str, optional
        Below ``runs/studies``; the name when not given.
    prepare : callable
        A last look at the plan, before anything is written.
    """

    name: str
    title: str
    scales: Mapping[str, P]
    bench: type[B]
    stages: Sequence[Stage[B] | ZooStage[B]]
    measures: Callable[[B, Records], Results]
    report: Report
    pictures: Callable[[B, Results], Mapping[str, Figure]] = _no_pictures
    films: Callable[[B, Results], Mapping[str, bytes]] = _no_films
    part: str | None = None
    unit: str = "models"
    folder: str | None = None
    prepare: Callable[[P], P] = _as_it_is


def plan_for(study: Study[P, B], scale: str, settings: Sequence[str] = ()) -> P:
    """Return the plan of a scale with some of its fields set.

    Parameters
    ----------
    study : Study
    scale : str
    settings : sequence of str
        ``KEY=VALUE``: a field of the plan, or with dots one of a part of it. A value is read
        as JSON, else as text.

    Raises
    ------
    InvalidRequestError
        For an unknown scale or field, or a value that the field cannot have.
    """
    if scale not in study.scales:
        raise InvalidRequestError(mismatch("scale", ", ".join(study.scales), repr(scale)))
    plan = study.scales[scale]
    content = plan.model_dump()
    for text in settings:
        key, equals, value = text.partition("=")
        *path, last = key.split(".")
        place: Any = content
        for step in path:
            place = place.get(step) if isinstance(place, dict) else None
        known = {**content, **type(plan).model_fields} if place is content else place
        if not equals or not isinstance(known, dict) or last not in known:
            allowed = f"KEY=VALUE with a key of {', '.join(type(plan).model_fields)}"
            raise InvalidRequestError(mismatch("`settings`", allowed, repr(text)))
        place[last] = _value(value)
    try:
        return study.prepare(type(plan).model_validate(content) if settings else plan)
    except ValidationError as error:
        raise from_validation(error, "`settings`") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
