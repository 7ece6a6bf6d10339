"""Assess a model: every risk in its turn, within one budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from molehunt.assess._assessor import Assessor
from molehunt.assess._budget import QUERIES, share_of_budget
from molehunt.assess._case import Case, Purse
from molehunt.assess._keep import Shelf
from molehunt.assess._registry import pick_assessors
from molehunt.assess._risk import Price, Risk, RiskStatus
from molehunt.assess._transfer_check import check_transfer
from molehunt.errors import InvalidRequestError, MolehuntError, mismatch
from molehunt.progress import Progress, silent

# From a risk's name and its queries to the command line that repeats it.
Command = Callable[[str, int], str]


@dataclass(frozen=True)
class Assessment:
    """What could be done to a model, within a budget.

    Parameters
    ----------
    risks : tuple of Risk
    clean_accuracy : (float, (float, float), int)
        The share of clean images that it gets right, its 95 % interval, and their number.
    queries, spent : int
        The budget, and what was asked, by this run or by one that it goes on with.
    opening : int
        Of what was spent: questions before the first risk, where they count.
    seconds : float
        Of the measurements, on the clock.
    """

    risks: tuple[Risk, ...]
    clean_accuracy: tuple[float, tuple[float, float], int]
    queries: int
    spent: int
    seconds: float
    opening: int = 0


def assess(
    case: Case,
    *,
    only: Sequence[str] = (),
    queries: int = QUERIES,
    opening: int = 0,
    keep: Path | None = None,
    sha256: str | None = None,
    command: Command = lambda name, queries: f"--only {name} --queries {queries}",
    progress: Progress = silent,
    on_risk: Callable[[Risk], None] = lambda _: None,
) -> Assessment:
    """Measure risks one after the other; the same case and queries give the same numbers.

    Parameters
    ----------
    case : Case
        See `new_case`.
    only : sequence of str
        Names of risks, of `ASSESSORS`; all without a name.
    queries : int
        Images that the model may be asked about, over all risks.
    opening : int
        Images of these that it was asked about before: to open it, and for the clean accuracy.
    keep : Path, optional
        A folder where each finished risk is kept; found there, it is not measured again.
    sha256 : str, optional
        Of the model's file.
    command : callable
    progress : Progress
        In queries.
    on_risk : callable
        Called with each risk as soon as it is there.

    Raises
    ------
    InvalidRequestError
        If there is no such risk, or no query is left.
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> import molehunt
    >>> from molehunt.assess import new_case
    >>> digits = molehunt.load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = molehunt.build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> case = new_case(model.freeze(), digits.test, seed=0)
    >>> found = assess(case, only=["evasion-mask"], queries=2000)
    >>> found.risks[0].status.value
    'not assessed'
    """
    if queries < 1:
        raise InvalidRequestError(mismatch("`queries`", "1 or more", queries))
    if queries <= opening:
        allowed = f"more than the {opening} that opening the model took"
        raise InvalidRequestError(mismatch("`queries`", allowed, queries))
    picked = pick_assessors(only)
    obstacles = {each.name: each.obstacle(case) for each in picked}
    able = [each for each in picked if not obstacles[each.name]]
    spent, risks = opening, []
    for assessor in picked:
        if obstacles[assessor.name]:
            risk = _not_assessed(assessor, obstacles[assessor.name])
        else:
            waiting = able[able.index(assessor) + 1 :]
            share = share_of_budget(queries - spent, assessor, waiting)
            ahead = _behind(progress, spent, queries)
            risk = measure_risk(case, assessor, share, keep, sha256, ahead)
            risk = risk.model_copy(update={"command": command(assessor.name, opening + share)})
            spent += risk.price.queries if risk.price is not None else 0
            progress(spent, queries)
        risks.append(risk)
        on_risk(risk)
    seconds = sum(risk.price.seconds for risk in risks if risk.price is not None)
    return Assessment(check_transfer(risks), case.clean_accuracy, queries, spent, seconds, opening)


def measure_risk(
    case: Case,
    assessor: Assessor,
    queries: int,
    keep: Path | None,
    sha256: str | None,
    progress: Progress = silent,
) -> Risk:
    """Return a risk as it was kept, or measure it and keep it; without its command."""
    shelf = None if keep is None else Shelf(keep, case, sha256)
    kept = None if shelf is None else shelf.take(assessor.kept_as(case), queries)
    if kept is not None:
        return kept
    purse, started = Purse(case.model, queries, progress, keep), time.perf_counter()
    try:
        found = assessor.measure(case, purse)
    except MolehuntError as error:  # of one attack: the others go on
        risk = _not_assessed(assessor, str(error))
    else:
        risk = Risk(
            name=assessor.name,
            title=assessor.title,
            status=found.status,
            why=found.why,
            words=found.words,
            sees=found.sees,
            may=found.may,
            measures=tuple(found.measures),
            exhibits=found.exhibits,
            reference=found.reference,
        )
    seconds = round(time.perf_counter() - started, 2)
    knowledge = "" if risk.status is RiskStatus.NOT_ASSESSED else found.knowledge
    price = Price(queries=purse.spent, budget=queries, seconds=seconds, knowledge=knowledge)
    risk = risk.model_copy(update={"price": price})
    # What could not be measured may be measured next time.
    if shelf is not None and risk.status is not RiskStatus.NOT_ASSESSED:
        shelf.put(risk, assessor.kept_as(case), queries)
    return risk


def _behind(progress: Progress, spent: int, queries: int) -> Progress:
    return lambda done, _total: progress(spent + done, queries)


def _not_assessed(assessor: Assessor, why: str) -> Risk:
    return Risk(name=assessor.name, title=assessor.title, status=RiskStatus.NOT_ASSESSED, why=why)
