"""Findings, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

from molehunt.detectors import Floats


class Status(StrEnum):
    """What one check found, and what all findings of a subject come to."""

    CLEAN = "clean"
    BACKDOORED = "backdoored"
    UNSAFE = "unsafe"  # the file would run code; it was not loaded
    INCONCLUSIVE = "inconclusive"  # nothing can be said
    FAILED = "failed"  # the file could not be judged


class ExitCode(IntEnum):
    """Exit codes of the command line; 130 is the shells' code for Ctrl-C."""

    CLEAN = 0
    FOUND = 1
    FAILED = 2
    INCONCLUSIVE = 3
    USAGE = 4
    INTERRUPTED = 130


# In order of precedence, for the findings of one subject and for many subjects alike.
_PRECEDENCE = (
    Status.UNSAFE,
    Status.BACKDOORED,
    Status.FAILED,
    Status.INCONCLUSIVE,
    Status.CLEAN,
)
_EXIT_CODES = {
    Status.UNSAFE: ExitCode.FOUND,
    Status.BACKDOORED: ExitCode.FOUND,
    Status.FAILED: ExitCode.FAILED,
    Status.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Status.CLEAN: ExitCode.CLEAN,
}


@dataclass(frozen=True)
class Finding:
    """One check's result.

    Parameters
    ----------
    check : str
        The detector's name, or the check's.
    status : Status
    message : str
        One line for the reader.
    score, p_value : float, optional
        Of a detector.
    threshold : float, optional
        On the p-value.
    responses : array [M, K], optional
        The subject's answers to a detector's patterns.
    """

    check: str
    status: Status
    message: str
    score: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    responses: Floats | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class ScanResult:
    """All findings about one file, and the verdict: the gravest of them.

    One clean finding is enough for clean only where no other finding says otherwise;
    a subject without any finding is inconclusive, never clean.
    """

    path: Path
    sha256: str | None
    findings: tuple[Finding, ...]
    architecture: str | None = None
    input_shape: tuple[int, ...] | None = None
    class_names: tuple[str, ...] = ()

    @property
    def verdict(self) -> Status:
        """The gravest status among the findings."""
        return gravest(finding.status for finding in self.findings)


def gravest(statuses: Iterable[Status]) -> Status:
    """Return the first status in the order of precedence, inconclusive when there is none."""
    return min(statuses, key=_PRECEDENCE.index, default=Status.INCONCLUSIVE)


def exit_code_of(results: Iterable[ScanResult]) -> ExitCode:
    """Return the exit code of a scan of many subjects."""
    return _EXIT_CODES[gravest(result.verdict for result in results)]
