"""What the templates of a scan need: texts, pictures and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from molehunt import plotting
from molehunt.arrays import Floats
from molehunt.detectors import PatternDetector
from molehunt.errors import printable
from molehunt.report import _figures as figures
from molehunt.report._words import (
    MEANINGS,
    counting,
    gravest_finding,
    p_text,
    said,
    target_text,
)
from molehunt.scanning import Finding, FittedDetector, ScanResult, Status

# Beyond this many subjects only the list is written: a page must open.
_DETAILED_SUBJECTS = 30
_SHOWN_PATTERNS = 20


def scan_context(
    results: Sequence[ScanResult], detectors: Sequence[FittedDetector]
) -> dict[str, Any]:
    """Return what the templates need to show a scan."""
    detailed = len(results) <= _DETAILED_SUBJECTS
    return {
        "subjects": [
            _subject_context(number, result, detectors, detailed)
            for number, result in enumerate(results, 1)
        ],
        "detailed": detailed,
        "detectors": [_detector_context(fitted) for fitted in detectors],
    }


def _subject_context(
    number: int, result: ScanResult, detectors: Sequence[FittedDetector], detailed: bool
) -> dict[str, Any]:
    findings = result.findings
    gravest = gravest_finding(result)
    return {
        "number": number,
        "result": result,
        "meaning": MEANINGS[result.verdict],
        "reason": f"{printable(gravest.check)}: {said(result, gravest)}",
        "passed": [finding for finding in findings if finding.status is Status.PASSED],
        "not_run": [finding for finding in findings if finding.status is Status.NOT_RUN],
        "details": [_finding_context(result, finding, detectors) for finding in counting(result)]
        if detailed
        else [],
    }


def _finding_context(
    result: ScanResult, finding: Finding, detectors: Sequence[FittedDetector]
) -> dict[str, Any]:
    context: dict[str, Any] = {
        "finding": finding,
        "p_value": None if finding.p_value is None else p_text(finding.p_value),
        "target": target_text(result, finding),
        "pictures": [
            {"caption": picture.caption, "uri": plotting.picture_uri(picture.pixels)}
            for picture in finding.pictures
        ],
        "score": None,
        "responses": [],
    }
    fitted = next((item for item in detectors if item.name == finding.check), None)
    if fitted is None or finding.score is None:
        return context
    detector = fitted.detector
    clean_scores = getattr(detector, "calibration_scores_", None)
    if clean_scores is not None and len(clean_scores):
        context["score"] = Markup(
            plotting.as_svg(
                figures.score_figure(finding.score, clean_scores),
                f"The score is {finding.score:.2f}; those of {len(clean_scores)} clean models "
                f"reach from {min(clean_scores):.2f} to {max(clean_scores):.2f}.",
            )
        )
    if isinstance(detector, PatternDetector) and finding.responses is not None:
        context["responses"] = _responses(result, finding.responses, detector)
    return context


def _responses(
    result: ScanResult, answers: Floats, detector: PatternDetector
) -> list[dict[str, Any]]:
    """Draw the answers [M, K] to patterns, those farthest from clean models first."""
    # The clean models' answers to each pattern are kept only when they were concatenated.
    if detector.pooling != "concatenate":
        return []
    clean = np.asarray(detector.calibration_features_)
    clean = clean.reshape(len(clean), *answers.shape)
    spread = clean.std(axis=0) + 1e-6
    strange = np.abs((answers - clean.mean(axis=0)) / spread).max(axis=1)
    return [
        {
            "number": int(m) + 1,
            "picture": plotting.picture_uri(detector.patterns_[m]),
            "figure": Markup(
                plotting.as_svg(
                    figures.response_figure(answers[m], clean[:, m], result.class_names),
                    f"Answers to pattern {m + 1}; highest for class {int(answers[m].argmax())}.",
                )
            ),
        }
        for m in np.argsort(-strange)[:_SHOWN_PATTERNS]
    ]


def _detector_context(fitted: FittedDetector) -> dict[str, Any]:
    detector = fitted.detector
    zoo, evaluation = (fitted.card.zoo, fitted.card.evaluation) if fitted.card else (None, None)
    calibrated = len(getattr(detector, "calibration_scores_", ()))
    return {
        "name": fitted.name,
        "zoo": zoo,
        "evaluation": evaluation,
        "roc": (
            Markup(
                plotting.as_svg(
                    figures.roc_figure({fitted.name: evaluation}),
                    f"ROC curve of {fitted.name}, area {evaluation.auc.auc:.3f}",
                )
            )
            if evaluation
            else None
        ),
        "patterns": (
            [plotting.picture_uri(pattern) for pattern in detector.patterns_[:_SHOWN_PATTERNS]]
            if isinstance(detector, PatternDetector)
            else []
        ),
        "calibrated": calibrated,
        "least_p": 1 / (calibrated + 1),
    }
