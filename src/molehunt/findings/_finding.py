"""A finding: what one check says of one subject."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from molehunt.findings._exhibits import Exhibit
from molehunt.findings._verdict import Verdict, gravest
from molehunt.findings._weakness import Weakness


class Status(StrEnum):
    """What became of one check of one subject."""

    FOUND = "found"  # the weakness it looks for
    CLEAR = "clear"  # nothing of it
    INCONCLUSIVE = "inconclusive"  # nothing can be said
    FAILED = "failed"  # the subject could not be judged
    NOT_RUN = "not run"  # the check was not made, and why; says nothing
    SKIPPED = "skipped"  # a file that was passed over, and why
    NO_MODEL = "no model"  # a file that was looked at and is none: text, a picture


# Whatever the check looks for.
_VERDICTS = {
    Status.INCONCLUSIVE: Verdict.INCONCLUSIVE,
    Status.FAILED: Verdict.FAILED,
    Status.SKIPPED: Verdict.SKIPPED,
    Status.NO_MODEL: Verdict.NO_MODEL,
}


@dataclass(frozen=True)
class Finding:
    """One check's result.

    Parameters
    ----------
    check : str
        The detector's name, or the check's; lower case with hyphens, the same for ever.
    status : Status
    message : str
        One line for the reader.
    weakness : Weakness, optional
        What the check looks for; none where it is about the file as such.
    weak : bool
        Whether the check finds so few that its finding nothing makes no verdict.
    score, p_value : float, optional
        Of a detector.
    threshold : float, optional
        On the p-value.
    null : str, optional
        What the p-value is against: clean calibration models, or a published null.
    target : int, optional
        The class that the evidence points at.
    exhibits : tuple of Exhibit
        What it rests on, to be drawn.
    part : str
        Which set of weights of the file it is about; empty where there is only one.

    Raises
    ------
    ValueError
        If something was found and no weakness is named.
    """

    check: str
    status: Status
    message: str
    weakness: Weakness | None = field(default=None, repr=False)
    weak: bool = False
    score: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    null: str | None = None
    target: int | None = None
    exhibits: tuple[Exhibit, ...] = field(default=(), repr=False, compare=False)
    part: str = ""

    def __post_init__(self) -> None:
        if self.status is Status.FOUND and self.weakness is None:
            raise ValueError(f"{self.check}: found a weakness, but which?")

    @property
    def verdict(self) -> Verdict | None:
        """What it makes of the subject, if there is nothing graver; None where it says nothing."""
        if self.status is Status.FOUND and self.weakness is not None:
            return self.weakness.found
        if self.status is Status.CLEAR:
            return None if self.weak or self.weakness is None else self.weakness.clear
        return _VERDICTS.get(self.status)

    @property
    def word(self) -> str:
        """The verdict's word; ``passed`` or ``not run`` where it makes none."""
        if self.verdict is not None:
            return self.verdict.value
        return "passed" if self.status is Status.CLEAR else self.status.value

    def of_part(self, part: str) -> Finding:
        """Return the finding with the name of a set of weights before its message."""
        return replace(self, part=part, message=f"{part}: {self.message}") if part else self


def find_verdict(findings: Iterable[Finding]) -> Verdict:
    """Return what findings come to: one clean finding is enough where no other says otherwise.

    A subject that no detector judged is inconclusive, never clean.
    """
    return gravest(each.verdict for each in findings if each.verdict is not None)
