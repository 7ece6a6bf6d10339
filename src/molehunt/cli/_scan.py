"""``molehunt scan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli._shared import MaxFalseAlarms, output
from molehunt.files import make_folder, write_text
from molehunt.report import scan_as_json, scan_table, write_scan_page
from molehunt.scan import FittedDetector, exit_code_of, model_files_in, scan_files


def scan(
    models: Annotated[list[Path], typer.Argument(help="Model files, or folders of them.")],
    detector: Annotated[
        list[Path], typer.Option("--detector", "-d", help="A detector file; may be repeated.")
    ],
    max_false_alarms: MaxFalseAlarms = 0.05,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the findings as JSON; - for the terminal.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained page.")] = None,
) -> int:
    """Judge model files. Exit code: 0 clean, 1 backdoor or unsafe, 2 failed, 3 inconclusive."""
    for target in (html, json_file):
        if target is not None:
            make_folder(target.parent)  # before the work, not after it
    detectors = [FittedDetector.load(path) for path in detector]
    results = scan_files(model_files_in(models), detectors, max_false_alarms=max_false_alarms)
    content = json.dumps(scan_as_json(results), indent=2)
    if json_file is not None and str(json_file) == "-":
        typer.echo(content)
    else:
        output.print(scan_table(results))
        if json_file is not None:
            write_text(json_file, content + "\n")
    if html is not None:
        write_scan_page(html, results, detectors, max_false_alarms=max_false_alarms)
        output.print(f"Report: {html}", highlight=False)
    return int(exit_code_of(results))
