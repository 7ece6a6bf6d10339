"""All findings about one subject, and what many subjects come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from molehunt.errors import ExitCode
from molehunt.findings import Finding, Verdict, find_verdict, gravest
from molehunt.networks import ModelCard
from molehunt.provenance import Names


@dataclass(frozen=True)
class ScanResult:
    """All findings about one subject, and the verdict that they come to.

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
    def verdict(self) -> Verdict:
        """What the findings come to."""
        return find_verdict(self.findings)


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
        verdicts = [verdict for verdict in verdicts if verdict is not Verdict.SKIPPED]
    return gravest(verdicts).exit_code
