"""Rules: the kinds of trouble that a pipeline may act on, with ids that never change."""

from __future__ import annotations

from dataclasses import dataclass

from molehunt.scanning import Finding, Status


@dataclass(frozen=True)
class Rule:
    """A kind of trouble as one check finds it.

    Parameters
    ----------
    id : str
        ``MH002/litmus``: the kind, and the check that found it.
    name : str
        Of the kind, in one word.
    level : {"error", "warning", "note"}
        As SARIF has it.
    severity : float, optional
        In [0, 10] as CVSS counts; GitHub calls 9 and more critical, 7 and more high. None
        where the trouble is no weakness of the model.
    cwe : int, optional
        Of the Common Weakness Enumeration.
    short, full, advice : str
        What it is, what it stands on, what to do.
    """

    id: str
    name: str
    level: str
    severity: float | None
    cwe: int | None
    short: str
    full: str
    advice: str


@dataclass(frozen=True)
class _Kind:
    number: str
    name: str
    level: str
    severity: float | None
    cwe: int | None
    short: str
    full: str
    advice: str


# A number is never given to another kind, and a kind never gets another number.
_KINDS = {
    Status.UNSAFE: _Kind(
        "MH001",
        "UnsafeFile",
        "error",
        9.8,
        502,
        "Model file that is not safe to load",
        "Loading the file would run code or bring in something that is not what it claims to "
        "be. Molehunt did not load it.",
        "Do not load the file. Ask its source for safetensors, or for a file with a signature "
        "that you can verify.",
    ),
    Status.BACKDOORED: _Kind(
        "MH002",
        "Backdoor",
        "error",
        8.8,
        506,
        "Model that looks backdoored",
        "The model looks more suspicious than clean models do, at the rate of false alarms that "
        "the scan was given. Images with the attacker's trigger would get the attacker's label.",
        "Do not deploy the model. Look at the HTML report (--html): patterns, reconstructed "
        "triggers and the class that they point at. Train again from data that you trust, or "
        "have the model judged by a second detector.",
    ),
    Status.FAILED: _Kind(
        "MH003",
        "NotJudged",
        "warning",
        None,
        None,
        "Model that could not be judged",
        "The file could not be read as a model, or the model fails on images that it should "
        "take. Nothing is known about it.",
        "Check that the file is whole, and that its format and input contract are right.",
    ),
    Status.INCONCLUSIVE: _Kind(
        "MH004",
        "Inconclusive",
        "note",
        None,
        None,
        "Model of which nothing can be said",
        "The check does not fit the model, or the model is unlike all that the check was "
        "calibrated on. That is not the same as clean.",
        "Scan with a detector whose zoo has models of this kind, or with more calibration models.",
    ),
    Status.SKIPPED: _Kind(
        "MH005",
        "Skipped",
        "note",
        None,
        None,
        "File that was passed over",
        "The file is of no format that Molehunt judges, or could not be reached. Nothing is "
        "known about it.",
        "Unpack an archive, name the file itself, or let files be passed over (--allow-skipped).",
    ),
}
ALL_RULES = tuple((kind.number, kind.name, kind.level, kind.short) for kind in _KINDS.values())


def rule_of(finding: Finding) -> Rule | None:
    """Return the rule that a finding breaks; None for findings that are no trouble."""
    kind = _KINDS.get(finding.status)
    if kind is None:
        return None
    return Rule(
        f"{kind.number}/{finding.check}",
        kind.name,
        kind.level,
        kind.severity,
        kind.cwe,
        f"{kind.short} ({finding.check})",
        f"{kind.full} Found by the check “{finding.check}”.",
        kind.advice,
    )
