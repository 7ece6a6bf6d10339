"""``molehunt test``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.cli._options import (
    Clean,
    ContractFile,
    DataRoot,
    Device,
    JsonFile,
    Seed,
    WeightsName,
    read_opening,
)
from molehunt.cli._outputs import check_output, save_json, show_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable

if TYPE_CHECKING:
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier
    from molehunt.testing import Examined

_USUAL = "usual"
_PROFILE = 5000  # training images, at most


def test(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    clean: Annotated[str, Clean],
    corruptions: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Make images worse at five severities: {corruptions}, with commas between, or "
            "usual (all; without weather on grey images). The default where no other test is "
            "named.",
        ),
    ] = None,
    boundary: Annotated[
        bool,
        typer.Option(
            "--boundary", help="Measure how far images are from another class, and what is there."
        ),
    ] = False,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage",
            help="Count which states of the network the images reach. It describes images and "
            "is no measure of safety.",
        ),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="SET",
            help="The image set whose training part gives the ranges for --coverage; without it "
            "two of four criteria are counted.",
        ),
    ] = None,
    images: Annotated[int, typer.Option(help="Clean images to test on.")] = 500,
    min_accuracy: Annotated[
        float | None,
        typer.Option(help="Exit code 1 if the accuracy on the images as they are is lower."),
    ] = None,
    seed: Seed = 0,
    contract: ContractFile = None,
    weights: WeightsName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A new folder for the images that the model gets wrong, with the right labels.",
        ),
    ] = None,
    json_file: JsonFile = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Test a model on corner cases, near its boundary, and count what the images cover.

    Exit code: 0 measured, 1 under --min-accuracy, 3 if something could not be measured.
    """
    import torch

    from molehunt.images import load_images, load_test_images
    from molehunt.scanning import open_model
    from molehunt.testing import examine, holds_cases

    _check(images, min_accuracy, profile, coverage)
    named = boundary or coverage or min_accuracy is not None
    wanted = corruptions or ("" if named else _USUAL)
    _check_names(wanted)
    _check_outputs(out, json_file)
    shown = load_test_images(clean, data_root=data_root)
    opening = read_opening(contract, weights)
    witnesses = None if holds_cases(clean) else shown
    opened = open_model(model, opening=opening, clean=witnesses, device=device)
    trained = None
    if profile is not None:
        drawn = torch.Generator().manual_seed(seed)
        trained = load_images(profile, data_root=data_root).train.sample(_PROFILE, drawn)
        trained = trained.shaped(opened.card.input_shape)
    shown = shown.sample(images, torch.Generator().manual_seed(seed))
    shown = shown.shaped(opened.card.input_shape).named(opened.card.class_names)
    with progress_of("testing") as progress:
        found = examine(
            opened,
            shown,
            corruptions=_listed(wanted, shown),
            boundary=boundary,
            coverage=coverage,
            profile=None if trained is None else trained.images,
            seed=seed,
            progress=progress,
        )
    low = min_accuracy is not None and found.accuracy[0] < min_accuracy
    missing = bool(found.not_measured)
    code = ExitCode.FOUND if low else ExitCode.INCONCLUSIVE if missing else ExitCode.CLEAN
    if out is not None:
        _save(out, opened, shown, found, seed)
    settings = {"model": model, "clean": clean, "images": len(shown), "seed": seed}
    _write(found, {**settings, "exit_code": int(code)}, json_file)
    if out is not None:
        note(f"Images: {out} (each folder in it is a test: --clean folder:{out}/NAME)")
    return int(code)


def _check(images: int, min_accuracy: float | None, profile: str | None, coverage: bool) -> None:
    if images < 1:
        raise InvalidRequestError(mismatch("number of `images`", "1 or more", images))
    if min_accuracy is not None and not 0 <= min_accuracy <= 1:
        raise InvalidRequestError(mismatch("`min_accuracy`", "0 to 1", min_accuracy))
    if profile is not None and not coverage:
        raise InvalidRequestError(mismatch("`profile`", "`coverage` with it", "it alone"))


def _check_names(wanted: str) -> None:
    from molehunt.testing import CORRUPTIONS

    for name in wanted.split(",") if wanted else ():
        if name not in (*CORRUPTIONS, _USUAL):
            allowed = ", ".join([*CORRUPTIONS, _USUAL])
            got = printable(repr(name))
            raise InvalidRequestError(mismatch("`corruptions`", allowed, got))


def _check_outputs(out: Path | None, json_file: Path | None) -> None:
    """Refuse outputs that cannot be written, before the work."""
    from molehunt.testing import check_empty

    check_output(json_file, "tests of a model (JSON)")
    if out is not None:
        check_empty(out)


def _listed(wanted: str, shown: ImageSet) -> Sequence[str]:
    from molehunt.testing import usual_corruptions

    names = wanted.split(",") if wanted else []
    usual = usual_corruptions(shown.shape[0]) if _USUAL in names else ()
    return [*dict.fromkeys([*usual, *(name for name in names if name != _USUAL)])]


def _save(out: Path, model: Classifier, shown: ImageSet, found: Examined, seed: int) -> None:
    """Write a folder of cases for each test that showed a failure."""
    from molehunt.testing import failures_of, write_cases

    names = [printable(name) for name in model.card.class_names]
    for test_name, (cases, predictions) in failures_of(model, shown, found, seed=seed).items():
        said = [names[label] for label in predictions.tolist()]
        write_cases(out / test_name, cases, {"taken for": said})


def _write(found: Examined, settings: dict[str, Any], json_file: Path | None) -> None:
    """Write what was measured: the file first, then the terminal."""
    from molehunt import __version__
    from molehunt.report import examined_as_json, examined_tables

    content = {"molehunt": __version__, **settings, **examined_as_json(found)}
    save_json(json_file, content)
    if show_json(json_file, content):
        return
    rate, (low, high) = found.accuracy
    line = f"{settings['images']} images as they are, accuracy {rate:.1%} [{low:.1%}, {high:.1%}]"
    output.print(line, highlight=False)
    for table in examined_tables(found):
        output.print(table)
    for line in found.not_measured:
        output.print(printable(line, 1000), highlight=False)
