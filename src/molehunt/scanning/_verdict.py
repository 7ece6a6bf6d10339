"""Findings, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from molehunt.arrays import Floats
from molehunt.errors import ExitCode
from molehunt.networks import ModelCard
from molehunt.provenance import Names


class Status(StrEnum):
    """What one check found, and what all findings of a subject come to."""

    CLEAN = "clean"
    BACKDOORED = "backdoored"
    UNSAFE = "unsafe"  # the file would run code; it was not loaded
    INCONCLUSIVE = "inconclusive"  # nothing can be said
    FAILED = "failed"  # the file could not be judged
    PASSED = "passed"  # a check of the file or the contract; says nothing about backdoors
    NOT_RUN = "not run"  # a check that was not made, and why; says nothing
    SKIPPED = "skipped"  # a file that was passed over, and why
    NO_MODEL = "no model"  # a file that was looked at and is none: text, a picture


# In order of precedence, for the findings of one subject and for many subjects alike.
_PRECEDENCE = (
    Status.UNSAFE,
    Status.BACKDOORED,
    Status.FAILED,
    Status.INCONCLUSIVE,
    Status.SKIPPED,
    Status.CLEAN,
    Status.NO_MODEL,
)
# Findings about something else than backdoors never make a verdict.
_SILENT = {Status.PASSED, Status.NOT_RUN}
_EXIT_CODES = {
    Status.UNSAFE: ExitCode.FOUND,
    Status.BACKDOORED: ExitCode.FOUND,
    Status.FAILED: ExitCode.FAILED,
    Status.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Status.SKIPPED: ExitCode.INCONCLUSIVE,
    Status.CLEAN: ExitCode.CLEAN,
    Status.NO_MODEL: ExitCode.INCONCLUSIVE,  # where there is nothing else, nothing was judged
}


@dataclass(frozen=True)
class Picture:
    """Something to show with a finding: pixels [C, H, W] in [0, 1] and what they are."""

    caption: str
    pixels: Floats


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
    score, p_value : float, optional
        Of a detector.
    threshold : float, optional
        On the p-value.
    null : str, optional
        What the p-value is against: clean calibration models, or a published null.
    target : int, optional
        The class that the evidence points at.
    responses : array [M, K], optional
        The subject's answers to a detector's patterns.
    pictures : tuple of Picture
        Reconstructed triggers, alone and on clean images.
    part : str
        Which set of weights of the file it is about; empty where there is only one.
    """

    check: str
    status: Status
    message: str
    score: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    null: str | None = None
    target: int | None = None
    responses: Floats | None = field(default=None, repr=False, compare=False)
    pictures: tuple[Picture, ...] = field(default=(), repr=False, compare=False)
    part: str = ""

    def of_part(self, part: str) -> Finding:
        """Return the finding with the name of a set of weights before its message."""
        return replace(self, part=part, message=f"{part}: {self.message}") if part else self


@dataclass(frozen=True)
class ScanResult:
    """All findings about one subject, and the verdict: the gravest of them.

    One clean finding is enough for clean only where no other finding says otherwise; a
    subject that no detector judged is inconclusive, never clean.

    Parameters
    ----------
    source : str
        A file's path, or an endpoint's URL.
    sha256 : str, optional
        Of the file.
    findings : tuple of Finding
    format : str, optional
        Of the file, as its content tells.
    card : ModelCard, optional
        What the model is and the input contract under which it was judged.
    parts : tuple of str
        Paths of the files beside it that were read as part of it.
    names : Names
        What the file's pickles name beyond what tensors need, by grade.
    """

    source: str
    sha256: str | None
    findings: tuple[Finding, ...]
    format: str | None = None
    card: ModelCard | None = None
    parts: tuple[str, ...] = ()
    names: Names = field(default_factory=Names)

    @property
    def name(self) -> str:
        """The last part of the source."""
        return self.source.rstrip("/").rpartition("/")[2]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One a logit; none where the subject could not be opened."""
        return self.card.class_names if self.card else ()

    @property
    def verdict(self) -> Status:
        """The gravest status among the findings."""
        return gravest(finding.status for finding in self.findings)


def gravest(statuses: Iterable[Status]) -> Status:
    """Return the first status in the order of precedence, inconclusive when there is none."""
    counted = (status for status in statuses if status not in _SILENT)
    return min(counted, key=_PRECEDENCE.index, default=Status.INCONCLUSIVE)


def exit_code_of(results: Iterable[ScanResult], *, allow_skipped: bool = False) -> ExitCode:
    """Return the exit code of a scan of many subjects.

    Parameters
    ----------
    results : iterable of ScanResult
    allow_skipped : bool
        Whether files that were passed over may stand beside a clean scan.
    """
    verdicts = [result.verdict for result in results]
    if allow_skipped:
        verdicts = [verdict for verdict in verdicts if verdict is not Status.SKIPPED]
    return _EXIT_CODES[gravest(verdicts)]
