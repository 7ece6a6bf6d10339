"""``molehunt demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli._shared import Workers, output, progress
from molehunt.report import evaluation_table, scan_table
from molehunt.studies import run_demo


def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything is written.")] = Path(
        "runs/demo"
    ),
    workers: Workers = None,
) -> None:
    """Plant, hunt and report on real digits, in a few minutes."""
    result = run_demo(folder, workers=workers, progress=progress)
    output.print(evaluation_table(result.evaluations))
    shuffled = result.shuffled
    output.print(f"litmus on shuffled labels: AUC {shuffled}", highlight=False)
    output.print(scan_table(result.scans))
    output.print(
        f"{result.figures['seconds']:.0f} s. Report: {result.report}\n"
        f"Scan a model of your own with: molehunt scan MODEL --detector {result.detector}",
        highlight=False,
    )
