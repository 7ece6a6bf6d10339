"""``molehunt demo`` and ``molehunt study``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli._commands import Command
from molehunt.cli._list import list_names
from molehunt.cli._options import DataRoot, Workers
from molehunt.cli._terminal import note, output, progress_of

app = typer.Typer(help="Run the experiment of a paper again, with its numbers beside ours.")

Folder = Annotated[
    Path | None,
    typer.Option(help="Folder for everything (runs/studies/NAME); a stopped run goes on."),
]
Scale = Annotated[str, typer.Option(help="smoke (a test of the machinery), quick or full.")]
Docs = Annotated[
    Path | None, typer.Option(help="Also write the report as Markdown with PNG figures.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the study's plan, as KEY=VALUE; may be repeated."),
]


def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything is written.")] = Path(
        "runs/demo"
    ),
    workers: Workers = None,
) -> None:
    """Plant, hunt and report on real digits, in a few minutes."""
    from molehunt.report import evaluation_table, scan_table
    from molehunt.study import run_demo

    result = run_demo(folder, workers=workers, progress_of=progress_of)
    output.print(evaluation_table(result.evaluations))
    shuffled = result.shuffled
    output.print(f"litmus on shuffled labels: AUC {shuffled}", highlight=False)
    output.print(scan_table(result.scans))
    note(
        f"{result.figures['seconds']:.0f} s. Report: {result.report}\n"
        f"Scan a model of your own with: molehunt scan MODEL --detector {result.detector}"
    )


def _command(name: str) -> Callable[..., None]:
    """Return the command that runs a study."""

    def command(
        folder: Folder = None,
        scale: Scale = "quick",
        docs: Docs = None,
        settings: Settings = None,
        workers: Workers = None,
        data_root: DataRoot = None,
    ) -> None:
        from rich.table import Table

        from molehunt.study import load_study, run

        study = load_study(name)
        result = run(
            study,
            folder or Path("runs/studies") / (study.folder or name),
            scale=scale,
            settings=settings or (),
            docs=docs,
            data_root=data_root,
            workers=workers,
            progress_of=progress_of,
        )
        head, *others = result.summary.head
        table = Table(head)
        for title in others:
            table.add_column(title, justify="right")
        for row in result.summary.rows:
            table.add_row(*row)
        output.print(table)
        note(f"{result.made} {study.unit} made now. Report: {result.report}")

    return command


@app.command("list", cls=Command)
def list_studies() -> None:
    """List the installed studies, and what each is about."""
    list_names("studies")


# Of the installed studies; none is imported.
for _name in sorted(point.name for point in entry_points(group="molehunt.studies")):
    app.command(
        _name,
        cls=Command,
        help=f"Run the study {_name}; molehunt study list says what it is about.",
    )(_command(_name))
