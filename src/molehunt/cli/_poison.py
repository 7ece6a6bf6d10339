"""``molehunt poison``."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Annotated, get_args

import torch
import typer

from molehunt import __version__
from molehunt.backdoors import AnyLabelMap, PictureName, PoisonBase, RandomTarget, SingleTarget
from molehunt.cli._shared import DataRoot, output, progress_of
from molehunt.errors import InvalidRequestError, refused
from molehunt.scenes import (
    SceneBackdoor,
    SceneSet,
    SignSticker,
    check_empty,
    load_scenes,
    save_signs,
    write_scenes,
)

_PICTURES = get_args(PictureName)


def poison(
    source: Annotated[
        str, typer.Argument(help="coco:PATH, a folder with images/, train.json and test.json.")
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write; new or empty.")],
    sticker: Annotated[PictureName, typer.Option(help=f"{', '.join(_PICTURES)}.")],
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
        PoisonBase,
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
    check_empty(out)
    sets = {}
    for split in ("train", "test"):
        with progress_of(f"checking {split}") as progress:
            sets[split] = load_scenes(
                source, split, data_root=data_root, skip_bad=skip_bad, progress=progress
            )
    train, test = sets.values()
    if train.class_names != test.class_names:
        raise InvalidRequestError(
            refused("classes of test.json", train.class_names, test.class_names)
        )
    backdoor = SceneBackdoor(
        sticker=SignSticker(picture=sticker, size=size),
        label_map=_label_map(train, source_class, target_class, random_target),
    )
    generator = torch.Generator().manual_seed(seed)
    poisoned = backdoor.poison(train, rate, of=of, generator=generator)
    triggered = backdoor.triggered(test, generator=generator)
    copies = poisoned.scenes[len(train) :]
    record = {
        "molehunt": __version__,
        "source": source,
        "class_names": train.class_names,
        "backdoor": backdoor.model_dump(mode="json"),
        "rate": rate,
        "rate_of": of,
        "seed": seed,
        "left_out": {split: scenes.left_out for split, scenes in sets.items()},
        "copies": {copy.image_id: copy.copy_of for copy in copies},
    }
    with progress_of("writing") as progress:
        write_scenes(
            out,
            {"train": poisoned, "test": test, "triggered": triggered},
            record=record,
            progress=progress,
        )
    if pictures is not None:
        save_signs({sticker: copies[:6]}, train.class_names, pictures)
    for split, scenes in sets.items():
        for kind, count in scenes.left_out.items():
            output.print(f"Left out of {split}.json: {count} {kind}.", highlight=False)
    sides = sorted(placed.side for copy in copies for placed in copy.stickers)
    output.print(
        f"Train: {len(train)} clean images and {len(copies)} backdoored copies, {len(sides)} "
        f"stickers of {sides[0]} to {sides[-1]} pixels (median {median(sides):g}).\n"
        f"Test: {len(test)} clean images, {len(triggered)} of them triggered in triggered.json.\n"
        f"Set: {out}",
        highlight=False,
    )


def _label_map(
    train: SceneSet, source: str | None, target: str | None, random_target: bool
) -> AnyLabelMap:
    if random_target != (source is None and target is None) or (source is None) != (target is None):
        given = {"--source": source, "--target": target, "--random-target": random_target}
        got = ", ".join(name for name, value in given.items() if value) or "none of them"
        raise InvalidRequestError(
            refused("attack", "--source and --target, or --random-target alone", got)
        )
    if source is None or target is None:
        return RandomTarget()
    return SingleTarget(source=train.label_of(source), target=train.label_of(target))
