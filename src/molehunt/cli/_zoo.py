"""``molehunt zoo``: build a zoo, and look at one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli._commands import Command
from molehunt.cli._options import DataRoot, Device, Download, Workers
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import InvalidRequestError, mismatch

app = typer.Typer(help="Build and show zoos of clean and backdoored models.")


@app.command("build", cls=Command)
def build(
    folder: Annotated[Path, typer.Argument(help="Folder of the zoo; new, or one to go on with.")],
    plan: Annotated[
        Path | None, typer.Option(help="Plan of the zoo: a .toml, .yaml or .json file.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the plan, such as backdoors.rate=0.5; as often as you like.",
        ),
    ] = None,
    workers: Workers = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Build on this Ray cluster: auto, HOST:PORT or ray://HOST:PORT."),
    ] = None,
    ray_cpus: Annotated[float, typer.Option(help="CPUs for each model, on Ray.")] = 1,
    ray_gpus: Annotated[
        float, typer.Option(help="GPUs for each model, on Ray; 0.1 is a tenth.")
    ] = 0,
    models_at_once: Annotated[
        int | None,
        typer.Option(help="Models that one process trains together; 64 on CUDA, else 1."),
    ] = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    download: Download = False,
) -> None:
    """Build a zoo, or go on with one that was interrupted."""
    from molehunt.report import zoo_tables
    from molehunt.resumable import RayCluster
    from molehunt.zoo import ZooPlan, build_zoo, change_plan, read_plan

    if ray is not None and workers is not None:
        raise InvalidRequestError(mismatch("workers", "none beside --ray", workers))
    asked = change_plan(read_plan(plan) if plan else ZooPlan(), settings or [])
    with progress_of("building models") as progress:
        zoo = build_zoo(
            asked,
            folder,
            workers=RayCluster(ray, ray_cpus, ray_gpus) if ray is not None else workers,
            device=device,
            models_at_once=models_at_once,
            data_root=data_root,
            download=download,
            progress=progress,
        )
    for table in zoo_tables(zoo):
        output.print(table)


@app.command("show", cls=Command)
def show(
    folder: Annotated[Path, typer.Argument(help="A zoo.")],
    pictures: Annotated[
        Path | None, typer.Option(help="Write the triggers as a PNG picture.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every file with its digest.")
    ] = False,
) -> int:
    """Summarise a zoo: counts, accuracies, success, failures, triggers."""
    from molehunt.report import save_triggers, triggers_of, zoo_tables
    from molehunt.zoo import Split, Zoo

    zoo = Zoo(folder)
    if not zoo.records:
        raise InvalidRequestError(mismatch(f"models in {folder}", "at least one", "none"))
    for table in zoo_tables(zoo):
        output.print(table)
    if pictures:
        shape = zoo.models(zoo.records[:1])[0].card.input_shape
        groups = {split.value: triggers_of(zoo, split) for split in Split}
        save_triggers({name: group for name, group in groups.items() if group}, shape, pictures)
        note(f"Triggers: {pictures}")
    if verify:
        changed = zoo.changed()
        for record in changed:
            output.print(f"changed or missing: {zoo.path_of(record)}", highlight=False)
        output.print(f"{len(zoo.records) - len(changed)} files as indexed", highlight=False)
        return 1 if changed else 0
    return 0
