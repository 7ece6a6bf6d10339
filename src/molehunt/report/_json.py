"""Findings as JSON, for pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from molehunt import __version__
from molehunt.scan import Finding, ScanResult, exit_code_of


def scan_as_json(results: Sequence[ScanResult]) -> dict[str, Any]:
    """Return the results of a scan as a dict that `json.dumps` takes."""
    return {
        "schema_version": 1,
        "molehunt": __version__,
        "exit_code": int(exit_code_of(results)),
        "subjects": [
            {
                "source": result.source,
                "sha256": result.sha256,
                "verdict": result.verdict.value,
                "format": result.format,
                "card": result.card.model_dump(mode="json") if result.card else None,
                "findings": [_finding(finding) for finding in result.findings],
            }
            for result in results
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "status": finding.status.value,
        "message": finding.message,
        "score": finding.score,
        "p_value": finding.p_value,
        "threshold": finding.threshold,
        "null": finding.null,
        "target": finding.target,
    }
