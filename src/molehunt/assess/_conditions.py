"""Conditions on measures, as ``--fail-on`` takes them: ``membership.tpr>0.01``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from molehunt.assess._registry import ASSESSORS
from molehunt.assess._risk import Risk, RiskStatus
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable

_FORM = re.compile(r"([a-z0-9-]+)\.([a-z0-9_]+)\s*([<>])\s*([0-9.eE+-]+)")


class Outcome(StrEnum):
    """What became of a condition."""

    HOLDS = "holds"
    DOES_NOT = "does not hold"
    UNKNOWN = "unknown"  # the risk was not measured, or its controls failed


@dataclass(frozen=True)
class Condition:
    """A measure above or below a number.

    Parameters
    ----------
    risk, measure : str
    above : bool
        Else below.
    limit : float
    """

    risk: str
    measure: str
    above: bool
    limit: float

    def __str__(self) -> str:
        return f"{self.risk}.{self.measure}{'>' if self.above else '<'}{self.limit:g}"

    def judge(self, risks: Sequence[Risk]) -> Outcome:
        """Say whether it holds of what was measured.

        What an attack reached is a lower bound also where its controls failed: then it can
        hold, and that it does not hold is unknown.
        """
        risk = next((each for each in risks if each.name == self.risk), None)
        measure = None if risk is None else risk.find_measure(self.measure)
        if risk is None or measure is None or measure.value != measure.value:
            return Outcome.UNKNOWN
        holds = measure.value > self.limit if self.above else measure.value < self.limit
        sure = risk.status is RiskStatus.MEASURED
        if holds and (sure or self.above == (measure.worse == "higher")):
            return Outcome.HOLDS
        return Outcome.DOES_NOT if sure else Outcome.UNKNOWN


def parse_condition(text: str) -> Condition:
    """Return the condition of a text such as ``evasion-linf.success>0.5``.

    Raises
    ------
    InvalidRequestError
        If it has another form, or there is no such risk or measure.

    Examples
    --------
    >>> parse_condition("certified.accuracy < 0.3")
    Condition(risk='certified', measure='accuracy', above=False, limit=0.3)
    """
    form = "RISK.MEASURE>NUMBER or RISK.MEASURE<NUMBER, such as stealing.agreement>0.9"
    match = _FORM.fullmatch(text.strip())
    try:
        limit = float(match[4]) if match else 0.0
    except ValueError:
        match = None
    if match is None:
        raise InvalidRequestError(mismatch("`fail_on`", form, printable(repr(text), 80)))
    risk, measure = match[1], match[2]
    if risk not in ASSESSORS:
        raise InvalidRequestError(mismatch("`fail_on`: risk", f"of {', '.join(ASSESSORS)}", risk))
    known = ASSESSORS[risk].measures
    if measure not in known:
        raise InvalidRequestError(
            mismatch(f"`fail_on`: measure of {risk}", f"of {', '.join(known)}", measure)
        )
    return Condition(risk, measure, match[3] == ">", limit)


def code_of(outcomes: Sequence[Outcome]) -> ExitCode:
    """Return the exit code: 1 where a condition holds, 3 where one is unknown, else 0.

    Examples
    --------
    >>> int(code_of([Outcome.DOES_NOT, Outcome.UNKNOWN])), int(code_of([]))
    (3, 0)
    """
    if Outcome.HOLDS in outcomes:
        return ExitCode.FOUND
    return ExitCode.INCONCLUSIVE if Outcome.UNKNOWN in outcomes else ExitCode.CLEAN
