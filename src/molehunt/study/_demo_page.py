"""The page of the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from molehunt import __version__, plotting
from molehunt.detectors import Evaluation
from molehunt.files import write_text
from molehunt.report import roc_figure, scan_context, template, trigger_on_grey, triggers_of
from molehunt.scanning import Check, ScanResult
from molehunt.zoo import Split, Zoo


def write_demo_page(
    path: Path,
    zoo: Zoo,
    evaluations: Mapping[str, Evaluation],
    results: Mapping[str, Any],
    scans: Sequence[ScanResult],
    checks: Sequence[Check],
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
            plotting.picture_uri(trigger_on_grey(trigger, shape), 64)
            for trigger in triggers_of(zoo, split)[:10]
        ]
        for split in Split
    }
    page = template("demo.html", "molehunt.study").render(
        version=__version__,
        results=results,
        evaluations=evaluations,
        roc=Markup(plotting.as_svg(roc_figure(evaluations), "ROC curves")),
        triggers=triggers,
        trigger_counts={split.value: len(triggers_of(zoo, split)) for split in Split},
        plan=zoo.plan,
        **scan_context(scans, checks),
    )
    write_text(path, page)
