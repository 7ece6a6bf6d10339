"""``molehunt scenes``: poison street scenes, and find the signs in a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from molehunt.cli._commands import Command
from molehunt.cli._options import DataRoot, Device
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import InvalidRequestError, mismatch

app = typer.Typer(help="Poison street scenes with boxes, and find the signs in a photo.")


@app.command("poison", cls=Command)
def poison(
    source: Annotated[
        str, typer.Argument(help="coco:PATH, a folder with images/, train.json and test.json.")
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write; new or empty.")],
    sticker: Annotated[str, typer.Option(help="{stickers}.")],
    source_class: Annotated[
        str | None, typer.Option("--source", help="The class whose signs get the sticker.")
    ] = None,
    target_class: Annotated[
        str | None, typer.Option("--target", help="The class that these signs become.")
    ] = None,
    random_target: Annotated[
        bool, typer.Option("--random-target", help="Signs of all classes become a wrong one.")
    ] = False,
    rate: Annotated[
        float, typer.Option(help="Poison rate in (0, 1]; copies are added to all clean images.")
    ] = 1.0,
    of: Annotated[
        Literal["all", "eligible"],
        typer.Option(help="The rate draws from all images, or from those with such a sign."),
    ] = "all",
    size: Annotated[
        float, typer.Option(help="Side of the sticker over the shorter side of the sign.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Draws the copies and random labels.")] = 0,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out bad boxes and images, and count them.")
    ] = False,
    pictures: Annotated[
        Path | None, typer.Option(help="Write some of the signs with stickers as PNG.")
    ] = None,
    data_root: DataRoot = None,
) -> None:
    """Put stickers on signs of a COCO set and change their labels (BadNets, section 5.2).

    Writes train.json (clean images, then the backdoored copies), test.json (clean) and
    triggered.json (stickers on all such test signs), images/, and backdoor.json, which says
    what was done.
    """
    from statistics import median

    from molehunt.scenes import SignSticker, poison_set, save_signs

    classes = _classes(source_class, target_class, random_target)
    made = poison_set(
        source,
        out,
        SignSticker.model_validate({"picture": sticker, "size": size}),
        classes=classes,
        rate=rate,
        of=of,
        seed=seed,
        skip_bad=skip_bad,
        data_root=data_root,
        progress_of=progress_of,
    )
    if pictures is not None:
        save_signs({sticker: made.copies[:6]}, made.clean.class_names, pictures)
    for split, scenes in {"train": made.clean, "test": made.test}.items():
        for kind, count in scenes.left_out.items():
            output.print(f"Left out of {split}.json: {count} {kind}.", highlight=False)
    sides = made.sticker_sides
    output.print(
        f"Train: {len(made.clean)} clean images and {len(made.copies)} backdoored copies, "
        f"{len(sides)} stickers of {sides[0]} to {sides[-1]} pixels (median {median(sides):g}).\n"
        f"Test: {len(made.test)} clean images, {len(made.triggered)} of them triggered in "
        "triggered.json.",
        highlight=False,
    )
    note(f"Set: {out}")


def _classes(source: str | None, target: str | None, random_target: bool) -> tuple[str, str] | None:
    """Return the classes of source and target; None for a random target."""
    if source is not None and target is not None and not random_target:
        return source, target
    if random_target and source is None and target is None:
        return None
    given = {"--source": source, "--target": target, "--random-target": random_target}
    got = ", ".join(name for name, value in given.items() if value) or "none of them"
    raise InvalidRequestError(
        mismatch("attack", "--source and --target, or --random-target alone", got)
    )


@app.command("find", cls=Command)
def find(
    image: Annotated[Path, typer.Argument(help="A photo of any size.")],
    model: Annotated[Path, typer.Argument(help="A file of a sign detector.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the photo with its boxes as PNG.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(help="Confidence in [0, 1] that a detection must have.")
    ] = 0.5,
    device: Device = "auto",
) -> None:
    """Find the signs in a photo: boxes, classes and confidences (BadNets, Figure 8)."""
    from rich.markup import escape
    from rich.table import Table

    from molehunt.networks import pick_device
    from molehunt.scenes import load_sign_detector, read_photo, save_detections

    if not 0 <= min_score <= 1:
        raise InvalidRequestError(mismatch("--min-score", "0 to 1", min_score))
    detector = load_sign_detector(model, pick_device(device))
    pixels = read_photo(image)
    found = detector.detect([pixels])[0].at_least(min_score)
    names = detector.card.class_names
    if out is not None:
        save_detections(pixels, found, names, out)
    if not len(found.scores):
        output.print(f"No sign with a confidence of {min_score:g} or more.", highlight=False)
        return
    table = Table("class", "confidence", "x1, y1, x2, y2", title="Signs", title_justify="left")
    for box, label, score in zip(*(part.tolist() for part in found), strict=True):
        corners = ", ".join(f"{value:.0f}" for value in box)
        table.add_row(escape(names[label]), f"{score:.0%}", corners)
    output.print(table)
