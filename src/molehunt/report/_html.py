"""Self-contained HTML pages: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from molehunt import __version__, plotting
from molehunt.detectors import Evaluation
from molehunt.errors import ExitCode, printable
from molehunt.files import write_text
from molehunt.report import _figures as figures
from molehunt.report._scan_context import scan_context
from molehunt.report._words import (
    EXIT_MEANINGS,
    counted,
    numbers,
    other_files,
    verdict_of,
    without_others,
)
from molehunt.scanning import FittedDetector, ScanResult, exit_code_of
from molehunt.zoo import Split, Zoo


def write_scan_page(
    path: Path,
    results: Sequence[ScanResult],
    detectors: Sequence[FittedDetector],
    *,
    max_false_alarms: float,
    code: ExitCode | None = None,
) -> None:
    """Write the page of a scan: verdict first, then what it stands on and its limits.

    `code` is the exit code that the scan ends with, where it is not the results' own.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    code = exit_code_of(results) if code is None else code
    models = without_others(results)
    page = template("scan.html").render(
        version=__version__,
        exit_code=int(code),
        exit_meaning=EXIT_MEANINGS[code],
        verdict=verdict_of(models),
        counts=counted(models),
        max_false_alarms=max_false_alarms,
        others=other_files(results),
        **scan_context(models, detectors),
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
            plotting.picture_uri(figures.trigger_on_grey(trigger, shape), 64)
            for trigger in triggers_of(zoo, split)[:10]
        ]
        for split in Split
    }
    page = template("demo.html").render(
        version=__version__,
        results=results,
        evaluations=evaluations,
        roc=Markup(plotting.as_svg(figures.roc_figure(evaluations), "ROC curves")),
        triggers=triggers,
        trigger_counts={split.value: len(triggers_of(zoo, split)) for split in Split},
        plan=zoo.plan,
        **scan_context(scans, detectors),
    )
    write_text(path, page)


def triggers_of(zoo: Zoo, split: Split) -> list[Any]:
    """Return the different triggers of a split, in the order of the index."""
    return list(dict.fromkeys(record.backdoor.trigger for record in zoo.select(split)))


def template(name: str) -> Template:
    """Return a template of this package; those of HTML escape what they are given."""
    environment = Environment(
        loader=PackageLoader("molehunt.report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    environment.filters["numbers"] = numbers
    return environment.get_template(name)
