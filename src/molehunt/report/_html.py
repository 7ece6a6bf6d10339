"""Self-contained HTML pages: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import (
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    Template,
    select_autoescape,
)

from molehunt import __version__
from molehunt.errors import ExitCode, printable
from molehunt.files import write_text
from molehunt.report._scan_context import scan_context
from molehunt.report._words import (
    EXIT_MEANINGS,
    list_numbers,
    other_files,
    tally_results,
    verdict_of,
    without_others,
)
from molehunt.scanning import Check, ScanResult, exit_code_of


def write_scan_page(
    path: Path,
    results: Sequence[ScanResult],
    checks: Sequence[Check],
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
        counts=tally_results(models),
        max_false_alarms=max_false_alarms,
        others=other_files(results),
        **scan_context(models, checks),
    )
    write_text(path, page)


def template(name: str, package: str = "molehunt.report") -> Template:
    """Return a template of a package, which may build on those of this one.

    Those of HTML escape what they are given.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("molehunt.report")]),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    environment.filters["numbers"] = list_numbers
    return environment.get_template(name)
