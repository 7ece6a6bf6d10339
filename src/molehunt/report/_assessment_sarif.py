"""Conditions of an assessment as SARIF 2.1.0: a result for each that holds or is unknown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molehunt.assess import Assessment, Condition, Outcome, Risk, code_of
from molehunt.errors import printable
from molehunt.report._assessment import EXIT_MEANINGS, AssessedModel, headline
from molehunt.report._rules import Rule
from molehunt.report._sarif import place_of_source, result_at, sarif_log

# By the first word of a risk: a number as those of weaknesses, never given to another, and one of
# the Common Weakness Enumeration. 1039: adversarial input; 202: what many queries give away;
# 349: data that nobody vouches for.
_NUMBERS = {
    "evasion": (101, 1039),
    "certified": (102, 1039),
    "stealing": (103, 202),
    "membership": (104, 202),
    "inversion": (105, 202),
    "property": (106, 202),
    "poisoning": (107, 349),
    "corner": (108, 1039),
    "boundary": (109, 1039),
}
_SEVERITY = 5.0  # the limit is the user's own, so is how grave it is


def assessment_as_sarif(
    model: AssessedModel,
    assessment: Assessment,
    conditions: Sequence[tuple[Condition, Outcome]],
    *,
    root: Path | None = None,
) -> dict[str, Any]:
    """Return a SARIF log with one run, for `json.dumps`.

    Parameters
    ----------
    model : AssessedModel
    assessment : Assessment
    conditions : sequence of (Condition, Outcome)
        Those that do not hold are no results: GitHub makes an alert of every one.
    root : Path, optional
        Files below this folder get URIs relative to it. Default: the working folder.
    """
    place = place_of_source(model.name, Path(os.path.normpath((root or Path()).absolute())))
    risks = {risk.name: risk for risk in assessment.risks}
    told = [each for each in conditions if each[1] is not Outcome.DOES_NOT]
    rules = {_rule_of(risks[condition.risk], outcome): None for condition, outcome in told}
    order = {rule: number for number, rule in enumerate(rules)}
    results = []
    for condition, outcome in told:
        risk = risks[condition.risk]
        rule = _rule_of(risk, outcome)
        results.append(
            result_at(
                rule,
                order[rule],
                f"{printable(model.name)}: {condition}: {outcome.value} ({_reason(risk)}).",
                {**place, "index": 0},
                f"{condition} {model.sha256 or place['uri']}",
                {each.name: each.value for each in risk.measures if each.value == each.value},
            )
        )
    code = code_of([outcome for _, outcome in conditions])
    artifact: dict[str, Any] = {"location": place, "roles": ["analysisTarget"]}
    if model.sha256 is not None:
        artifact["hashes"] = {"sha-256": model.sha256}
    return sarif_log(
        list(rules),
        code,
        EXIT_MEANINGS[code],
        root="The folder in which the assessment was started.",
        notifications=[],
        artifacts=[artifact],
        results=results,
    )


def _reason(risk: Risk) -> str:
    return printable(headline(risk) if risk.measures else risk.why)


def _rule_of(risk: Risk, outcome: Outcome) -> Rule:
    number, cwe = _NUMBERS[risk.name.partition("-")[0]]
    word = "".join(part.capitalize() for part in risk.name.split("-"))
    full = f"{risk.title}: {risk.words or risk.why}"
    advice = f"Repeat the measurement: {risk.command}" if risk.command else "See why."
    if outcome is Outcome.HOLDS:
        short = f"Risk beyond its limit ({risk.name})"
        return Rule(f"MH{number}/{risk.name}", word, "error", _SEVERITY, cwe, short, full, advice)
    short = f"Risk that was not measured ({risk.name})"
    return Rule(
        f"MH{number}/{risk.name}/unknown", f"{word}Unknown", "note", None, None, short, full, advice
    )
