"""A risk: a quantity with an interval, a threat model and a price, not a verdict."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from molehunt.findings import Curves, Histogram, Picture
from molehunt.networks import Reveals

Exhibits = tuple[Picture | Curves | Histogram, ...]


class RiskStatus(StrEnum):
    """What became of the measurement of a risk."""

    MEASURED = "measured"
    NOT_ASSESSED = "not assessed"  # it was not looked at, and why
    INCONCLUSIVE = "inconclusive"  # a control failed, so the attack says little of the model


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Measure(_Model):
    """A quantity, measured on the saved result of an attack.

    Parameters
    ----------
    name : str
        Lower case with hyphens or underscores, the same for ever.
    value : float
        NaN or infinite where there is none, such as a median over no successes.
    interval : (float, float), optional
        95 %.
    n : int
        Cases that it was measured on.
    worse : {"higher", "lower"}
        Which values are worse for whoever deploys the model.
    unit : {"share", "length", "area", "log odds"}
        A share of `n`, a Euclidean length of pixels in [0, 1], the area under a ROC curve, or a
        detector's score.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    n: int
    worse: Literal["higher", "lower"] = "higher"
    unit: Literal["share", "length", "area", "log odds"] = "share"


class Price(_Model):
    """What an attack cost, its controls included.

    Parameters
    ----------
    queries : int
        Images that the model was asked about; a gradient costs one, too.
    budget : int
        Images that it might have been asked about.
    seconds : float
        On the clock.
    knowledge : str
        What the attacker had beside the model's answers.
    """

    queries: int
    budget: int
    seconds: float
    knowledge: str


class Reference(_Model):
    """Where a measure stands among the same of honest models.

    Parameters
    ----------
    better : int
        Honest models whose measure is better than this model's.
    of : int
    p_value : float
        Conformal: the chance that one more honest model is as bad, (1 + as bad) / (1 + of).
    values : tuple of float
        Of the honest models, in no order that names them.
    """

    better: int
    of: int
    p_value: float
    values: tuple[float, ...]


class Risk(_Model):
    """What one kind of attack can do to a model.

    Parameters
    ----------
    name : str
        As ``--only`` and ``--fail-on`` name it.
    title : str
    status : RiskStatus
    why : str
        Why it was not assessed, or which control failed; empty where it was measured.
    words : str
        The result in one sentence.
    sees : Reveals, optional
        What the attacker sees of the model.
    may : str
        What the attacker may do.
    measures : tuple of Measure
        The one that counts first; none where the risk was not assessed.
    price : Price, optional
    reference : Reference, optional
        Of the first measure.
    command : str
        The command line that repeats the numbers.
    exhibits : tuple
        What is drawn.
    """

    name: str
    title: str
    status: RiskStatus
    why: str = ""
    words: str = ""
    sees: Reveals | None = None
    may: str = ""
    measures: tuple[Measure, ...] = ()
    price: Price | None = None
    reference: Reference | None = None
    command: str = ""
    exhibits: Annotated[Exhibits, Field(exclude=True, repr=False)] = ()

    def find_measure(self, name: str) -> Measure | None:
        """Return the measure of that name, None where it was not taken."""
        return next((each for each in self.measures if each.name == name), None)
