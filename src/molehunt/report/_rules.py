"""Rules: the kinds of trouble that a pipeline may act on, with ids that never change."""

from __future__ import annotations

from dataclasses import dataclass, replace

from molehunt.findings import WEAKNESSES, Finding, Status


@dataclass(frozen=True)
class Rule:
    """A kind of trouble as one check finds it.

    Parameters
    ----------
    id : str
        ``MH002/litmus``: the weakness or what became of the check, and the check. A number is
        never given to another kind, and a kind never gets another number.
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


# What is no weakness of the model: a check came to nothing. Numbers as those of weaknesses.
_OUTCOMES = {
    Status.FAILED: Rule(
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
    Status.INCONCLUSIVE: Rule(
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
    Status.SKIPPED: Rule(
        "MH005",
        "Skipped",
        "note",
        None,
        None,
        "File that was passed over",
        "The file is of no format that Molehunt judges, or could not be reached. Nothing is "
        "known about it.",
        "Unpack an archive, name the file itself, or allow that files are passed over.",
    ),
}
_OF_WEAKNESSES = {
    each: Rule(
        each.id,
        each.name,
        "warning" if each.severity is None else "error",
        each.severity,
        each.cwe,
        each.short,
        each.full,
        each.advice,
    )
    for each in WEAKNESSES.values()
}
ALL_RULES = sorted((*_OF_WEAKNESSES.values(), *_OUTCOMES.values()), key=lambda rule: rule.id)


def rule_of(finding: Finding) -> Rule | None:
    """Return the rule that a finding breaks, one a check; None for findings that are no trouble."""
    rule = _OUTCOMES.get(finding.status)
    if finding.status is Status.FOUND and finding.weakness is not None:
        rule = _OF_WEAKNESSES[finding.weakness]
    if rule is None:
        return None
    return replace(
        rule,
        id=f"{rule.id}/{finding.check}",
        short=f"{rule.short} ({finding.check})",
        full=f"{rule.full} Found by the check “{finding.check}”.",
    )
