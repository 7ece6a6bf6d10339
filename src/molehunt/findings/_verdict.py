"""The verdict: what all findings of a subject come to."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from molehunt.errors import ExitCode


class Verdict(StrEnum):
    """What the findings of a subject, or of many subjects, come to; the gravest first.

    Attributes
    ----------
    exit_code : ExitCode
        Of a scan whose gravest verdict it is.
    style : str
        As rich has it.
    meaning : str
        One sentence or two for the reader.
    """

    exit_code: ExitCode
    style: str
    meaning: str

    def __new__(cls, word: str, exit_code: ExitCode, style: str, meaning: str) -> Verdict:
        """Make a member that is its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.exit_code, member.style, member.meaning = exit_code, style, meaning
        return member

    UNSAFE = (
        "unsafe",
        ExitCode.FOUND,
        "bold red",
        "The file is not safe to load. It was not loaded.",
    )
    BACKDOORED = (
        "backdoored",
        ExitCode.FOUND,
        "bold red",
        "The model looks like one with a backdoor.",
    )
    FAILED = ("failed", ExitCode.FAILED, "magenta", "The file could not be judged.")
    INCONCLUSIVE = (
        "inconclusive",
        ExitCode.INCONCLUSIVE,
        "yellow",
        "Nothing can be said of this model. That is not the same as clean.",
    )
    SKIPPED = (
        "skipped",
        ExitCode.INCONCLUSIVE,
        "yellow",
        "The file was passed over. Nothing is known about it.",
    )
    CLEAN = ("clean", ExitCode.CLEAN, "green", "Nothing was found by the checks below.")
    # Where there is nothing else, nothing was judged.
    NO_MODEL = ("no model", ExitCode.INCONCLUSIVE, "dim", "The file is no model.")


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the gravest, inconclusive when there is none."""
    return min(verdicts, key=list(Verdict).index, default=Verdict.INCONCLUSIVE)
