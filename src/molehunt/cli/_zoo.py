"""``molehunt zoo``: build a zoo, and look at one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from molehunt.cli._shared import DataRoot, Device, Download, Workers, output, progress_of
from molehunt.errors import InvalidRequestError, from_validation, refused
from molehunt.report import save_triggers, triggers_of, zoo_tables
from molehunt.resumable import RayCluster
from molehunt.zoo import Split, Zoo, ZooPlan, build_zoo, read_plan

app = typer.Typer(help="Build and show zoos of clean and backdoored models.")


@app.command("build")
def build(
    folder: Annotated[Path, typer.Argument(help="Where the zoo is or shall be.")],
    plan: Annotated[
        Path | None, typer.Option(help="A .toml, .yaml or .json description; flags override it.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="digits, mnist, gtsrb, folder:PATH, npz:PATH, ...")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Height and width to resize images to.")] = None,
    train_limit: Annotated[int | None, typer.Option(help="Training images a model.")] = None,
    network: Annotated[
        str | None, typer.Option(help="badnets-mnist, vgg, stn-vgg, resnet, torchvision:NAME.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Width of vgg, stn-vgg or resnet.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None,
    label_map: Annotated[
        str | None, typer.Option(help="single_target, all_to_one, all_to_all, random_target.")
    ] = None,
    trigger: Annotated[
        str | None,
        typer.Option(help="random_patch, single_pixel, badnets_pattern, sticker, blended."),
    ] = None,
    trigger_size: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    triggers: Annotated[int | None, typer.Option(help="Number of different triggers.")] = None,
    sticker: Annotated[Path | None, typer.Option(help="Picture file of a sticker.")] = None,
    picture: Annotated[
        str | None, typer.Option(help="Sticker of ours: 'yellow square', bomb, flower.")
    ] = None,
    opacity: Annotated[
        float | None, typer.Option(help="Of a sticker or of blended noise, up to 1.")
    ] = None,
    placement: Annotated[
        str | None, typer.Option(help="'random corner', 'anywhere', 'top left', ...")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Poison rate in (0, 1].")] = None,
    fit: Annotated[int | None, typer.Option(help="Pairs of twins to fit on.")] = None,
    calibration: Annotated[int | None, typer.Option(help="Pairs of twins to calibrate on.")] = None,
    test: Annotated[int | None, typer.Option(help="Pairs of twins to test on.")] = None,
    placebo: Annotated[int | None, typer.Option(help="Placebo models to test on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Determines the whole zoo.")] = None,
    workers: Workers = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Build on this Ray cluster: auto, HOST:PORT or ray://HOST:PORT."),
    ] = None,
    ray_cpus: Annotated[float, typer.Option(help="CPUs a model, on Ray.")] = 1,
    ray_gpus: Annotated[float, typer.Option(help="GPUs a model, on Ray; 0.1 is a tenth.")] = 0,
    models_at_once: Annotated[
        int | None,
        typer.Option(help="Models that one process trains together; 64 on CUDA, else 1."),
    ] = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    download: Download = False,
) -> None:
    """Build a zoo, or go on with one that was interrupted."""
    if ray is not None and workers is not None:
        raise InvalidRequestError(refused("workers", "none beside --ray", workers))
    asked = read_plan(plan) if plan else ZooPlan()
    flags: dict[tuple[str, ...], Any] = {
        ("seed",): seed,
        ("images", "source"): images,
        ("images", "size"): size,
        ("images", "train_limit"): train_limit,
        ("network", "name"): network,
        ("network", "arguments", "width"): width,
        ("recipe", "epochs"): epochs,
        ("backdoors", "label_map"): label_map,
        ("backdoors", "trigger"): trigger,
        ("backdoors", "size"): trigger_size,
        ("backdoors", "count"): triggers,
        ("backdoors", "path"): sticker and str(sticker),
        ("backdoors", "picture"): picture,
        ("backdoors", "opacity"): opacity,
        ("backdoors", "placement"): placement,
        ("backdoors", "rate"): rate,
        ("models", "fit", "pairs"): fit,
        ("models", "calibration", "pairs"): calibration,
        ("models", "test", "pairs"): test,
        ("models", "test", "placebo"): placebo,
    }
    content = asked.model_dump(mode="json")
    if fit is not None and not plan:
        content["models"] = {split.value: {} for split in Split}
    for place, value in flags.items():
        if value is not None:
            target = content
            for key in place[:-1]:
                target = target.setdefault(key, {})
            target[place[-1]] = value
    try:
        asked = ZooPlan.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise from_validation(error, "zoo build") from error
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


@app.command("show")
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
    zoo = Zoo(folder)
    if not zoo.records:
        raise InvalidRequestError(refused(f"models in {folder}", "at least one", "none"))
    for table in zoo_tables(zoo):
        output.print(table)
    if pictures:
        shape = zoo.models(zoo.records[:1])[0].card.input_shape
        groups = {split.value: triggers_of(zoo, split) for split in Split}
        save_triggers({name: group for name, group in groups.items() if group}, shape, pictures)
        output.print(f"Triggers: {pictures}", highlight=False)
    if verify:
        changed = zoo.changed()
        for record in changed:
            output.print(f"changed or missing: {zoo.path_of(record)}", highlight=False)
        output.print(f"{len(zoo.records) - len(changed)} files as indexed", highlight=False)
        return 1 if changed else 0
    return 0
