"""Self-contained HTML pages: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from molehunt import __version__
from molehunt.detectors import Evaluation, PatternDetector, models_needed
from molehunt.files import write_text
from molehunt.report import figures
from molehunt.scan import FittedDetector, ScanResult, exit_code_of
from molehunt.zoo import Split, Zoo

# Beyond this many subjects only the table is written: a page must open.
_DETAILED_SUBJECTS = 30
_SHOWN_PATTERNS = 20


def write_scan_page(
    path: Path,
    results: Sequence[ScanResult],
    detectors: Sequence[FittedDetector],
    *,
    max_false_alarms: float,
) -> None:
    """Write the page of a scan: verdict first, then what it stands on and its limits.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    page = template("scan.html").render(
        version=__version__,
        exit_code=int(exit_code_of(results)),
        max_false_alarms=max_false_alarms,
        **scan_context(results, detectors),
    )
    write_text(path, page)


def write_demo_page(
    path: Path,
    zoo: Zoo,
    evaluations: Mapping[str, Evaluation],
    results: Mapping[str, Any],
    scans: Sequence[ScanResult],
    detectors: Sequence[FittedDetector],
) -> None:
    """Write the page of the demo: zoo, detectors, controls, and two scans.

    `results` is what ``results.json`` holds.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    shape = zoo.models(zoo.records[:1])[0].card.input_shape
    triggers = {
        split.value: [
            figures.picture_uri(figures.trigger_on_grey(trigger, shape), 64)
            for trigger in triggers_of(zoo, split)[:10]
        ]
        for split in Split
    }
    page = template("demo.html").render(
        version=__version__,
        results=results,
        evaluations=evaluations,
        roc=Markup(figures.as_svg(figures.roc_figure(evaluations))),
        triggers=triggers,
        trigger_counts={split.value: len(triggers_of(zoo, split)) for split in Split},
        plan=zoo.plan,
        **scan_context(scans, detectors),
    )
    write_text(path, page)


def triggers_of(zoo: Zoo, split: Split) -> list[Any]:
    """Return the different triggers of a split, in the order of the index."""
    return list(dict.fromkeys(record.backdoor.trigger for record in zoo.select(split)))


def scan_context(
    results: Sequence[ScanResult], detectors: Sequence[FittedDetector]
) -> dict[str, Any]:
    """Return what the templates need to show a scan."""
    subjects = [
        {
            "result": result,
            "details": [_finding_context(result, finding, detectors) for finding in result.findings]
            if len(results) <= _DETAILED_SUBJECTS
            else [],
        }
        for result in results
    ]
    return {
        "subjects": subjects,
        "detailed": len(results) <= _DETAILED_SUBJECTS,
        "detectors": [_detector_context(fitted) for fitted in detectors],
    }


def _finding_context(
    result: ScanResult, finding: Any, detectors: Sequence[FittedDetector]
) -> dict[str, Any]:
    context: dict[str, Any] = {"finding": finding, "score": None, "responses": []}
    fitted = next((item for item in detectors if item.name == finding.check), None)
    if fitted is None or finding.score is None:
        return context
    detector = fitted.detector
    context["score"] = Markup(
        figures.as_svg(figures.score_figure(finding.score, detector.calibration_scores_))
    )
    if isinstance(detector, PatternDetector) and finding.responses is not None:
        # The clean models' answers to each pattern are kept only when they were concatenated.
        clean = np.asarray(detector.calibration_features_)
        if detector.pooling == "concatenate":
            clean = clean.reshape(len(clean), *finding.responses.shape)
            # Patterns on which the subject is farthest from the clean models come first.
            spread = clean.std(axis=0) + 1e-6
            strange = np.abs((finding.responses - clean.mean(axis=0)) / spread).max(axis=1)
            context["responses"] = [
                {
                    "number": int(m) + 1,
                    "picture": figures.picture_uri(detector.patterns_[m]),
                    "figure": Markup(
                        figures.as_svg(
                            figures.response_figure(
                                finding.responses[m],
                                clean[:, m],
                                result.class_names,
                            )
                        )
                    ),
                }
                for m in np.argsort(-strange)[:_SHOWN_PATTERNS]
            ]
    return context


def _detector_context(fitted: FittedDetector) -> dict[str, Any]:
    detector, card = fitted.detector, fitted.card
    calibrated = len(getattr(detector, "calibration_scores_", ()))
    return {
        "name": fitted.name,
        "zoo": card.zoo,
        "evaluation": card.evaluation,
        "roc": (
            Markup(figures.as_svg(figures.roc_figure({fitted.name: card.evaluation})))
            if card.evaluation
            else None
        ),
        "patterns": (
            [figures.picture_uri(pattern) for pattern in detector.patterns_[:_SHOWN_PATTERNS]]
            if isinstance(detector, PatternDetector)
            else []
        ),
        "calibrated": calibrated,
        "least_p": 1 / (calibrated + 1),
        "needed_at_5": models_needed(0.05),
    }


def template(name: str) -> Template:
    """Return a template of this package; those of HTML escape what they are given."""
    environment = Environment(
        loader=PackageLoader("molehunt.report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
