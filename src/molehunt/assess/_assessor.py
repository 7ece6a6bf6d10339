"""What measures one risk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from molehunt.assess._case import Case, Purse
from molehunt.assess._risk import Exhibits, Measure, Reference, RiskStatus
from molehunt.networks import Reveals


@dataclass(frozen=True)
class Found:
    """What an assessor found: all of a `Risk` but its name, price and command."""

    words: str
    sees: Reveals
    may: str
    measures: Sequence[Measure]
    status: RiskStatus = RiskStatus.MEASURED
    why: str = ""
    knowledge: str = "clean images"
    exhibits: Exhibits = ()
    reference: Reference | None = None


@dataclass(frozen=True)
class Costs:
    """Seconds of an answer, a gradient and a step of a copy's training, for an image each."""

    answer: float
    gradient: float
    training: float


class Assessor(ABC):
    """Measures one risk within a number of queries.

    Its numbers depend on the case and the queries alone: never on the clock, nor on other risks.

    Attributes
    ----------
    name, title : str
    share : float
        Of the budget, against those of the other assessors.
    gradients : float
        The share of its queries that are gradients where weights are revealed.
    measures : tuple of str
        Names that the conditions of ``--fail-on`` may use, the one that counts first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    share: ClassVar[float]
    gradients: ClassVar[float] = 0.0
    measures: ClassVar[tuple[str, ...]]

    @abstractmethod
    def obstacle(self, case: Case) -> str:
        """Return why the risk cannot be assessed, in one sentence; empty where it can."""

    def seconds(self, case: Case, queries: int, costs: Costs) -> float:
        """Return about how long so many queries take."""
        if case.reveals is Reveals.WEIGHTS and self.gradients:
            share = self.gradients
            return queries * ((1 - share) * costs.answer + share * costs.gradient)
        return queries * costs.answer

    def kept_as(self, case: Case) -> str:
        """Return a file name for what is kept: more than the name where more than a case counts."""
        return self.name

    @abstractmethod
    def measure(self, case: Case, purse: Purse) -> Found:
        """Attack, and say what came of it.

        Raises
        ------
        BudgetSpentError
            If the queries do not suffice to begin.
        """
