"""``molehunt attack invert``: what classes look like to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molehunt import __version__
from molehunt.cli._attack_words import class_of, reveals_of
from molehunt.cli._options import (
    ContractFile,
    DataRoot,
    Device,
    JsonFile,
    WeightsName,
    read_opening,
)
from molehunt.cli._outputs import check_output, save_json, show_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable
from molehunt.files import check_replaceable, make_folder

_MOST_CLASSES = 100  # without --class


def invert(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder for a picture of each class and a table.")
    ],
    wanted: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="CLASS",
            help="A class by name or number; may be repeated. By default all of them.",
        ),
    ] = None,
    reveals: Annotated[
        str | None,
        typer.Option(
            help="What the attacker sees: weights, confidences or rounded. Default: as much as the "
            "model can reveal."
        ),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(help="Most images that the model may be asked about, for all classes."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="By default 100 with gradients and 15 without.")
    ] = None,
    prior: Annotated[
        str, typer.Option(help="pixels, or deep-image: what an untrained network draws first.")
    ] = "pixels",
    denoise: Annotated[
        float,
        typer.Option(help="Gaussian filter over each step: its deviation, as a share of the side."),
    ] = 0.035,
    views: Annotated[
        int,
        typer.Option(help="Moved and noisy views that a step averages over; 0 for none."),
    ] = 2,
    variation: Annotated[
        float, typer.Option(help="Weight of the total variation of the picture.")
    ] = 0.0,
    cell: Annotated[
        int,
        typer.Option(help="Without gradients: side of the squares that one question is about."),
    ] = 4,
    clean: Annotated[
        str | None,
        typer.Option(help="Labelled clean images, to check the input contract: {images}."),
    ] = None,
    contract: ContractFile = None,
    weights: WeightsName = None,
    seed: Annotated[int, typer.Option(help="Of the views and of deep-image.")] = 0,
    json_file: JsonFile = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Draw what a model takes for its classes. Exit code: 0 drawn, 3 if the attack cannot run."""
    check_output(json_file, "the results of attacks (JSON)")
    from molehunt.attacks import ModelInversion, Prior
    from molehunt.images import load_test_images
    from molehunt.networks import Queried, Reveals, most_revealed
    from molehunt.report import (
        INVERSION_MARKS,
        JUDGED_BY_NOBODY,
        inversion_as_json,
        inversion_table,
        write_inversion,
    )
    from molehunt.scanning import open_model

    make_folder(out)
    check_replaceable(out / "results.csv", "the results of an inversion", INVERSION_MARKS)
    stated_reveals = reveals_of(reveals)
    if prior not in [*Prior]:
        raise InvalidRequestError(mismatch("`prior`", " or ".join(Prior), prior))
    shown = None if clean is None else load_test_images(clean, data_root=data_root)
    opening = read_opening(contract, weights)
    opened = open_model(model, opening=opening, clean=shown, device=device)
    names = opened.card.class_names
    if wanted is None and len(names) > _MOST_CLASSES:
        allowed = f"given for a model of more than {_MOST_CLASSES} classes"
        raise InvalidRequestError(mismatch("`class`", allowed, f"none for {len(names)}"))
    classes = None if wanted is None else [class_of("class", each, names) for each in wanted]
    seen = stated_reveals or most_revealed(opened)
    target = Queried(opened, reveals=seen, budget=queries)
    attack = ModelInversion(
        steps=steps or (100 if seen is Reveals.WEIGHTS else 15),
        denoise=denoise,
        total_variation=variation,
        views=views,
        prior=Prior(prior),
        cell=cell,
        seed=seed,
    )
    with progress_of("steps") as progress:
        found = attack.invert(target, classes, progress)
    write_inversion(out, found, names)
    content = {
        "molehunt": __version__,
        "exit_code": int(ExitCode.CLEAN),
        "model": model,
        "reveals": seen.value,
        **inversion_as_json(found, names),
        "remark": JUDGED_BY_NOBODY,
    }
    save_json(json_file, content)
    if show_json(json_file, content):
        return int(ExitCode.CLEAN)
    output.print(inversion_table(found, names))
    said = f"{found.queries:,} queries ({seen.value}), {found.seconds:.1f} s"
    output.print(printable(said + f"; {found.note}" * bool(found.note), 1000), highlight=False)
    output.print(JUDGED_BY_NOBODY, highlight=False)
    note(f"Pictures: {out}")
    return int(ExitCode.CLEAN)
