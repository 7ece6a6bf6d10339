"""The verdicts that a scan gives many models, counted; and when finding nothing is clean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, computed_field

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.findings import Verdict
from molehunt.rates import rate_interval

Count = Annotated[int, Field(ge=0, le=10**9)]
# Kinds of backdoors, by the words of a scan.
BACKDOOR_KINDS = ("all-to-one", "all-to-one, blended", "all-to-all", "source-target")
# The share of backdoored models that a detector must be known to find before what it does not
# find counts as clean.
LEAST_POWER = 0.8


def check_demand(against: Iterable[str], min_power: float) -> None:
    """Refuse a demand on a clean verdict: kinds of backdoors, and the share to be found of each.

    Raises
    ------
    InvalidRequestError
        If a kind is not one of `BACKDOOR_KINDS`, or the share is outside 0 to 1.
    """
    if not 0 <= min_power <= 1:
        raise InvalidRequestError(mismatch("min_power", "a share from 0 to 1", min_power))
    unknown = [kind for kind in against if kind not in BACKDOOR_KINDS]
    if unknown:
        allowed, got = "; ".join(BACKDOOR_KINDS), printable("; ".join(unknown), 80)
        raise InvalidRequestError(mismatch("against", allowed, got))


class VerdictCounts(BaseModel):
    """What a scan says of so many models: found backdoored, nothing can be said, clean."""

    model_config = ConfigDict(frozen=True)

    detected: Count
    abstained: Count
    passed: Count
    of: Count

    @property
    def share_detected(self) -> float:
        """Share that is called backdoored; 0 of no models."""
        return self.detected / max(1, self.of)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the share that is called backdoored."""
        return rate_interval(self.detected, self.of)

    def __str__(self) -> str:
        return f"{self.detected} / {self.abstained} / {self.passed}"


def count_verdicts(verdicts: Iterable[Verdict]) -> VerdictCounts:
    """Count verdicts: backdoored is detected, clean is passed, every other is abstained.

    Examples
    --------
    >>> print(count_verdicts([Verdict.CLEAN, Verdict.CLEAN, Verdict.INCONCLUSIVE]))
    0 / 1 / 2
    """
    counts = Counter(verdicts)
    detected, passed = counts[Verdict.BACKDOORED], counts[Verdict.CLEAN]
    total = counts.total()
    return VerdictCounts(
        detected=detected, abstained=total - detected - passed, passed=passed, of=total
    )


class Verdicts(BaseModel):
    """The verdicts that a scan gives backdoored and clean models."""

    model_config = ConfigDict(frozen=True)

    backdoored: VerdictCounts
    clean: VerdictCounts

    def withhold_clean(self) -> Verdicts:
        """Return the verdicts without a clean one, as of a detector that finds too little."""
        return Verdicts(
            backdoored=_without_passed(self.backdoored), clean=_without_passed(self.clean)
        )


def _without_passed(counts: VerdictCounts) -> VerdictCounts:
    abstained = counts.abstained + counts.passed
    return counts.model_copy(update={"abstained": abstained, "passed": 0})
