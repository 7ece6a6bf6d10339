"""``molehunt demo`` and ``molehunt study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli._shared import DataRoot, Workers, output, progress
from molehunt.report import evaluation_table, scan_table, study_table
from molehunt.studies import SCALES, run_badnets_mnist, run_demo, run_scanners

app = typer.Typer(help="Run the experiment of a paper again, with its numbers beside ours.")

Folder = Annotated[
    Path, typer.Option(help="Where everything is written; a stopped study goes on there.")
]
Scale = Annotated[str, typer.Option(help=f"{', '.join(SCALES)}.")]
Docs = Annotated[
    Path | None, typer.Option(help="Write the report as Markdown with PNG figures too.")
]


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


@app.command("badnets-mnist")
def badnets_mnist(
    folder: Folder = Path("runs/studies/badnets-mnist"),
    scale: Scale = "quick",
    docs: Docs = None,
    workers: Workers = None,
    data_root: DataRoot = None,
) -> None:
    """BadNets on MNIST: single target, all-to-all, poison rates, filters, dormant units."""
    result = run_badnets_mnist(
        folder, scale=scale, data_root=data_root, workers=workers, docs=docs, progress=progress
    )
    output.print(study_table(result.summary))
    output.print(
        f"{result.trained} of {result.figures['models']} models trained now. "
        f"Report: {result.report}",
        highlight=False,
    )


@app.command("scanners")
def scanners(
    folder: Folder = Path("runs/studies/scanners"),
    scale: Scale = "quick",
    docs: Docs = None,
    modelaudit: Annotated[
        Path | None, typer.Option(help="The modelaudit command, to run it on the same models.")
    ] = None,
    workers: Workers = None,
    data_root: DataRoot = None,
) -> None:
    """Detectors that need no zoo, on held-out MNIST and GTSRB models."""
    result = run_scanners(
        folder,
        scale=scale,
        data_root=data_root,
        workers=workers,
        docs=docs,
        modelaudit=modelaudit,
        progress=progress,
    )
    output.print(study_table(result.summary))
    output.print(f"Report: {result.report}", highlight=False)
