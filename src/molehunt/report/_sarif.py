"""Findings as SARIF 2.1.0, in the subset that GitHub code scanning reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from molehunt import __version__
from molehunt.errors import ExitCode, printable
from molehunt.findings import Finding, Status
from molehunt.report._rules import Rule, rule_of
from molehunt.report._words import (
    EXIT_MEANINGS,
    class_name,
    message_of,
    verdict_findings,
    with_status,
    without_others,
)
from molehunt.scanning import ScanResult, exit_code_of

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT = "SRCROOT"


def scan_as_sarif(
    results: Sequence[ScanResult], *, root: Path | None = None, code: ExitCode | None = None
) -> dict[str, Any]:
    """Return the results of a scan as a SARIF log with one run, for `json.dumps`.

    Only troubles are SARIF results: GitHub makes an alert of every result, whatever its
    kind. Checks that were not made are notifications of the invocation, which GitHub does
    not show; passed and clean findings are in the JSON and the HTML report.

    Parameters
    ----------
    results : sequence of ScanResult
    root : Path, optional
        Files below this folder get URIs relative to it; GitHub wants the checkout's root.
        Default: the working folder.
    code : ExitCode, optional
        With which the scan ends, where it is not the results' own.
    """
    results = without_others(results)
    root = Path(os.path.normpath((root or Path()).absolute()))
    places = [place_of_source(result.source, root) for result in results]
    broken = [
        (number, finding, rule)
        for number, result in enumerate(results)
        for finding in verdict_findings(result)
        if (rule := rule_of(finding)) is not None
    ]
    rules = sorted({rule for _, _, rule in broken}, key=lambda rule: rule.id)
    order = {rule.id: number for number, rule in enumerate(rules)}
    code = exit_code_of(results) if code is None else code
    return sarif_log(
        rules,
        code,
        EXIT_MEANINGS[code],
        root="The folder in which the scan was started.",
        notifications=[
            _not_run(result, finding, place)
            for result, place in zip(results, places, strict=True)
            for finding in with_status(result, Status.NOT_RUN)
        ],
        artifacts=[_artifact(result, place) for result, place in zip(results, places, strict=True)],
        results=[
            _result(results[number], finding, rule, order[rule.id], {**places[number]}, number)
            for number, finding, rule in broken
        ],
    )


def sarif_log(
    rules: Sequence[Rule],
    code: ExitCode,
    meaning: str,
    *,
    root: str,
    notifications: Sequence[dict[str, Any]],
    artifacts: Sequence[dict[str, Any]],
    results: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return a log with one run; `root` says what places are relative to."""
    run = {
        "tool": {
            "driver": {
                "name": "Molehunt",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(rule) for rule in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": code is not ExitCode.FAILED,
                "exitCode": int(code),
                "exitCodeDescription": meaning,
                "toolExecutionNotifications": list(notifications),
            }
        ],
        "originalUriBaseIds": {_ROOT: {"description": {"text": root}}},
        "artifacts": list(artifacts),
        "results": list(results),
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def place_of_source(source: str, root: Path) -> dict[str, Any]:
    """Return where a subject lies, the same on every machine for files below `root`.

    An endpoint is put where a file with its host and path would lie.
    """
    if "://" in source:
        # GitHub refuses a whole log with a location that is no file: codeql-action issue 754.
        parts = urlsplit(source)
        host = parts.netloc.rpartition("@")[2]
        return {"uri": quote(host + parts.path.rstrip("/")), "uriBaseId": _ROOT}
    path = Path(os.path.normpath(root / source))
    if path.is_relative_to(root):
        return {"uri": quote(os.fsencode(path.relative_to(root))), "uriBaseId": _ROOT}
    return {"uri": path.as_uri()}


def _rule(rule: Rule) -> dict[str, Any]:
    properties: dict[str, Any] = {"tags": ["machine-learning"]}
    if rule.severity is not None:
        # GitHub reads the severity, as text, only of rules that are tagged "security".
        properties["security-severity"] = str(rule.severity)
        properties["tags"] += ["security", f"external/cwe/cwe-{rule.cwe}"]
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.short},
        "fullDescription": {"text": rule.full},
        "help": {
            "text": f"{rule.full} {rule.advice}",
            "markdown": f"**{rule.short}.** {rule.full}\n\n{rule.advice}",
        },
        "defaultConfiguration": {"level": rule.level},
        "properties": properties,
    }


def _result(
    result: ScanResult,
    finding: Finding,
    rule: Rule,
    rule_index: int,
    place: dict[str, Any],
    artifact: int,
) -> dict[str, Any]:
    figures = {
        "score": finding.score,
        "pValue": finding.p_value,
        "threshold": finding.threshold,
        "null": finding.null,
        "target": finding.target,
        "targetClass": class_name(result, finding.target),
    }
    return result_at(
        rule,
        rule_index,
        f"{printable(result.name)}: {message_of(result, finding)} ({finding.check}).",
        {**place, "index": artifact},
        result.sha256 or place["uri"],
        {name: value for name, value in figures.items() if value is not None},
    )


def result_at(
    rule: Rule,
    rule_index: int,
    message: str,
    place: dict[str, Any],
    identity: str,
    properties: dict[str, Any],
) -> dict[str, Any]:
    """Return a result; `identity` is of the model, so that every run makes the same alert."""
    # Of the file and the rule, never of scores.
    fingerprint = hashlib.sha256(f"{rule.id} {identity}".encode()).hexdigest()
    return {
        "ruleId": rule.id,
        "ruleIndex": rule_index,
        "level": rule.level,
        "message": {"text": message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": place,
                    # A model has no lines, but GitHub shows no result without one.
                    "region": {"startLine": 1},
                }
            }
        ],
        "partialFingerprints": {
            "molehuntFinding/v1": fingerprint,
            "primaryLocationLineHash": f"{fingerprint[:16]}:1",  # the only one GitHub reads
        },
        "properties": properties,
    }


def _artifact(result: ScanResult, place: dict[str, Any]) -> dict[str, Any]:
    artifact: dict[str, Any] = {
        "location": place,
        "roles": ["analysisTarget"],
        "properties": {"verdict": result.verdict.value},
    }
    if result.sha256 is not None:
        artifact["hashes"] = {"sha-256": result.sha256}
    return artifact


def _not_run(result: ScanResult, finding: Finding, place: dict[str, Any]) -> dict[str, Any]:
    return {
        "descriptor": {"id": f"not-run/{finding.check}"},
        "level": "note",
        "message": {
            "text": f"{printable(result.name)}: {finding.check} not run: "
            f"{message_of(result, finding)}."
        },
        "locations": [{"physicalLocation": {"artifactLocation": place}}],
    }
