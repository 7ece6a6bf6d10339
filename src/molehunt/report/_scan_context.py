"""What the templates of a scan need: texts, pictures and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from molehunt import plotting
from molehunt.errors import printable
from molehunt.findings import Bars, Finding, Histogram, Picture, Status
from molehunt.report import _figures as figures
from molehunt.report._words import (
    gravest_finding,
    message_of,
    p_text,
    target_text,
    verdict_findings,
    with_status,
)
from molehunt.scanning import Basis, Check, ScanResult

# Beyond this many subjects only the list is written: a page must open.
_DETAILED_SUBJECTS = 30


def scan_context(results: Sequence[ScanResult], checks: Sequence[Check]) -> dict[str, Any]:
    """Return what the templates need to show a scan."""
    detailed = len(results) <= _DETAILED_SUBJECTS
    return {
        "subjects": [
            _subject_context(number, result, detailed) for number, result in enumerate(results, 1)
        ],
        "detailed": detailed,
        "checks": [_check_context(check.name, check.basis) for check in checks],
    }


def _subject_context(number: int, result: ScanResult, detailed: bool) -> dict[str, Any]:
    gravest = gravest_finding(result)
    # They make no verdict, and yet have something to show.
    weak = [finding for finding in result.findings if finding.weak]
    return {
        "number": number,
        "result": result,
        "reason": f"{printable(gravest.check)}: {message_of(result, gravest)}",
        "passed": [each for each in with_status(result, Status.CLEAR) if each not in weak],
        "not_run": with_status(result, Status.NOT_RUN),
        "details": [
            _finding_context(result, finding) for finding in (*verdict_findings(result), *weak)
        ]
        if detailed
        else [],
    }


def _finding_context(result: ScanResult, finding: Finding) -> dict[str, Any]:
    context: dict[str, Any] = {
        "finding": finding,
        "p_value": None if finding.p_value is None else p_text(finding.p_value),
        "target": target_text(result, finding),
        "pictures": [],
        "histograms": [],
        "bars": [],
    }
    for exhibit in finding.exhibits:
        match exhibit:
            case Picture():
                context["pictures"].append(_picture_context(exhibit))
            case Histogram():
                context["histograms"].append(Markup(_draw_histogram(exhibit)))
            case Bars():
                context["bars"].append(
                    {**_picture_context(exhibit), "figure": Markup(_draw_bars(exhibit, result))}
                )
    return context


def _picture_context(exhibit: Picture | Bars) -> dict[str, str]:
    return {"caption": exhibit.caption, "uri": plotting.picture_uri(exhibit.pixels)}


def _draw_histogram(exhibit: Histogram) -> str:
    clean = exhibit.clean
    return plotting.as_svg(
        figures.score_figure(exhibit.score, clean),
        f"The score is {exhibit.score:.2f}; those of {len(clean)} clean models "
        f"reach from {clean.min():.2f} to {clean.max():.2f}.",
    )


def _draw_bars(exhibit: Bars, result: ScanResult) -> str:
    return plotting.as_svg(
        figures.response_figure(exhibit, result.class_names),
        f"Answers to {exhibit.caption}; highest for class {int(exhibit.values.argmax())}.",
    )


def _check_context(name: str, basis: Basis) -> dict[str, Any]:
    evaluation = basis.evaluation
    return {
        "name": name,
        "zoo": basis.zoo,
        "evaluation": evaluation,
        "roc": evaluation
        and Markup(
            plotting.as_svg(
                figures.roc_figure({name: evaluation}),
                f"ROC curve of {name}, area {evaluation.auc.auc:.3f}",
            )
        ),
        "pictures": [_picture_context(picture) for picture in basis.pictures],
        "references": basis.references,
        "least_p": 1 / (basis.references + 1),
    }
