"""``molehunt filter``: which images of a training set are poisoned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molehunt.cli._options import Clean, DataRoot, Device, JsonFile
from molehunt.cli._outputs import PNG_MARKS, check_output, save_json, show_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable

if TYPE_CHECKING:
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier


def filter_images(
    images: Annotated[
        str, typer.Argument(help="The set whose training images are judged: {images}.")
    ],
    clean: Annotated[str, Clean],
    method: Annotated[str, typer.Option(help="{data_filters}.")] = "activation-clustering",
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model file of Molehunt that was trained on the set; without one a small "
            "residual network is trained."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Of that training.")] = 10,
    size: Annotated[
        int | None, typer.Option(help="Height and width to which images are brought.")
    ] = None,
    max_false_alarms: Annotated[
        float, typer.Option(help="Share of clean images that may be removed.")
    ] = 0.01,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the images that stay (npz).")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a picture (PNG) of images that were removed.")
    ] = None,
    json_file: JsonFile = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> int:
    """Find poisoned training images, with a stated rate of false alarms.

    Exit code: 1 if some class has more removed images than false alarms explain, else 3: what a
    filter does not see may be there (docs/filters.md).
    """
    from molehunt import defences
    from molehunt.images import load_images, load_test_images
    from molehunt.report import (
        filter_as_json,
        filter_table,
        save_kept,
        save_removed,
    )

    if method not in defences.DATA_FILTERS:
        allowed = ", ".join(defences.DATA_FILTERS)
        raise InvalidRequestError(mismatch("`method`", allowed, printable(repr(method), 80)))
    check_output(out, "images (npz)", (b"PK",))
    check_output(picture, "a picture (PNG)", PNG_MARKS)
    check_output(json_file, "the results of a filter (JSON)")
    suspects = load_images(images, data_root=data_root, size=size).train
    known = load_test_images(clean, data_root=data_root, size=size)
    judge = _judge(suspects, model, epochs, seed, device)
    suspects, known = (
        part.shaped(judge.card.input_shape).named(judge.card.class_names)
        for part in (suspects, known)
    )
    found = defences.filter_images(
        defences.DATA_FILTERS[method](), judge, suspects, known, max_false_alarms=max_false_alarms
    )
    suspicious = found.suspicious()
    code = ExitCode.FOUND if suspicious else ExitCode.INCONCLUSIVE
    settings = {"set": images, "clean": clean, "method": method, "seed": seed}
    content = filter_as_json(found, code, **settings)
    if out is not None:
        save_kept(out, found, suspects, known)
    if picture is not None:
        save_removed(picture, found, suspects)
    save_json(json_file, content)
    if show_json(json_file, content):
        return int(code)
    removed = int(found.removed.sum())
    output.print(
        f"{method}: {removed} of {len(suspects)} images removed; of clean ones at most "
        f"{max_false_alarms:.1%}, {max_false_alarms * len(suspects):.0f}, are.",
        highlight=False,
    )
    if suspicious:
        output.print(filter_table(found, suspects.class_names))
    else:
        note("No class has more removed images than false alarms explain. This is no proof.")
    return int(code)


def _judge(
    suspects: ImageSet, model: Path | None, epochs: int, seed: int, device: str
) -> Classifier:
    """Return a model that was trained on the suspects."""
    from molehunt.networks import build_classifier, load_model, pick_device
    from molehunt.subjects import read_claimed_card
    from molehunt.training import Recipe, train

    if model is not None:
        read_claimed_card(model)  # before a network of any size is built
        return load_model(model, pick_device(device))
    if epochs < 1:
        raise InvalidRequestError(mismatch("`epochs`", "1 or more", epochs))
    judge = build_classifier("resnet", suspects, arguments={"width": 12}, seed=seed)
    recipe = Recipe(epochs=epochs, batch_size=min(128, len(suspects)), lr=0.005)
    with progress_of("training") as progress:
        train(judge, suspects, recipe, seed=seed, device=pick_device(device), progress=progress)
    return judge.freeze()
