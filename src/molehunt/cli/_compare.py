"""``molehunt compare``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.cli._options import Clean, DataRoot, Device, JsonFile, Seed
from molehunt.cli._outputs import check_output, save_json, show_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import (
    ExitCode,
    InvalidRequestError,
    UnsuitableSubjectError,
    mismatch,
    printable,
)

if TYPE_CHECKING:
    from torch import Tensor

    from molehunt.images import ImageSet
    from molehunt.networks import Classifier
    from molehunt.testing import Comparison, Differences


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="A B [C ...]", help="Model files, or URLs of endpoints.")
    ],
    clean: Annotated[str, Clean],
    images: Annotated[int, typer.Option(help="Clean images to compare on.")] = 1000,
    search: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Change N of the images on which all agree until they do not, by the models' "
            "joint gradients.",
        ),
    ] = 0,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="How the search may change images: light, occlusion (one rectangle) or blackout "
            "(small black squares); may be repeated. Default: all.",
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(help="Exit code 1 if the models agree on a smaller share of the images."),
    ] = None,
    contract: Annotated[
        list[Path] | None,
        typer.Option(
            help="A TOML file with the models' input contract: one for all, or repeated, one for "
            "each in their order."
        ),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="A new folder for the disputed images, with the right labels."
        ),
    ] = None,
    json_file: JsonFile = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Find images on which models disagree.

    Exit code: 0 measured, 1 under --min-agreement, 3 if a search could not run.
    """
    import torch

    from molehunt.images import load_test_images
    from molehunt.scanning import open_model
    from molehunt.subjects import Opening, StatedContract, read_contract
    from molehunt.testing import Constraint, check_empty, compare_models, holds_cases

    _check(models, images, search, min_agreement)
    wanted = constraint or [*Constraint]
    unknown = [name for name in wanted if name not in [*Constraint]]
    if unknown:
        got = printable(repr(unknown[0]))
        raise InvalidRequestError(mismatch("`constraint`", ", ".join(Constraint), got))
    check_output(json_file, "a comparison of models (JSON)")
    if out is not None:
        check_empty(out)
    loaded = load_test_images(clean, data_root=data_root)
    stated = [read_contract(path) for path in contract or ()] or [StatedContract()]
    if len(stated) not in (1, len(models)):
        raise InvalidRequestError(mismatch("`contract`", f"1 or {len(models)}", len(stated)))
    witnesses = None if holds_cases(clean) else loaded
    opened = {
        name: open_model(source, opening=Opening(contract=its), clean=witnesses, device=device)
        for name, source, its in zip(_names(models), models, cycle(stated), strict=False)
    }
    shown = loaded.sample(images, torch.Generator().manual_seed(seed))
    with progress_of("comparing") as progress:
        compared = compare_models(opened, shown, progress=progress)
    searched: dict[str, Differences | str] = {}
    if search:
        seeds = shown.take(~compared.disputed)
        seeds = seeds.take(torch.arange(min(search, len(seeds))))
        for name in wanted:
            searched[name] = _search(opened, seeds, name, seed)
    not_run = any(isinstance(found, str) for found in searched.values())
    low = min_agreement is not None and 1 - compared.disagreement[0] < min_agreement
    code = ExitCode.FOUND if low else ExitCode.INCONCLUSIVE if not_run else ExitCode.CLEAN
    if out is not None:
        _save(out, shown, compared, searched, next(iter(opened.values())).card.class_names)
    settings = {"models": models, "clean": clean, "seed": seed, "min_agreement": min_agreement}
    _write(compared, searched, {**settings, "exit_code": int(code)}, json_file)
    if out is not None:
        note(f"Images: {out} (a test of other models: --clean folder:{out}/clean)")
    return int(code)


def _check(models: Sequence[str], images: int, search: int, min_agreement: float | None) -> None:
    if len(models) < 2:
        raise InvalidRequestError(mismatch("models to compare", "2 or more", len(models)))
    if images < 1:
        raise InvalidRequestError(mismatch("number of `images`", "1 or more", images))
    if search < 0:
        raise InvalidRequestError(mismatch("`search`", "0 or more", search))
    if min_agreement is not None and not 0 <= min_agreement <= 1:
        raise InvalidRequestError(mismatch("`min_agreement`", "0 to 1", min_agreement))


def _names(models: Sequence[str]) -> list[str]:
    """Return the models as they were given; a second of one name gets a number."""
    names: list[str] = []
    for source in models:
        number = sum(name.partition(" #")[0] == source for name in names)
        names.append(f"{source} #{number + 1}" if number else source)
    return names


def _search(
    models: dict[str, Classifier], seeds: ImageSet, constraint: str, seed: int
) -> Differences | str:
    """Search under a constraint, or say why that cannot be done."""
    from molehunt.testing import search_differences

    if not len(seeds):
        return "the models agree on no image, so there is none to change"
    first = next(iter(models.values())).card
    seeds = seeds.shaped(first.input_shape).named(first.class_names)
    try:
        with progress_of(f"searching ({constraint})") as progress:
            return search_differences(
                models, seeds, constraint=constraint, seed=seed, progress=progress
            )
    except (UnsuitableSubjectError, InvalidRequestError) as error:
        return str(error)


def _save(
    out: Path,
    shown: ImageSet,
    compared: Comparison,
    searched: dict[str, Differences | str],
    class_names: Sequence[str],
) -> None:
    """Write a folder of cases of the disputed clean images, and of each search's."""
    from molehunt.images import ImageSet
    from molehunt.testing import write_cases

    def said(names: Sequence[str], predictions: Tensor) -> dict[str, list[str]]:
        return {
            f"said by {printable(model, 100)}": [printable(names[label]) for label in row]
            for model, row in zip(compared.names, predictions.tolist(), strict=True)
        }

    disputed = compared.disputed
    if bool(disputed.any()):
        columns = said(compared.class_names, compared.predictions[:, disputed])
        write_cases(out / "clean", shown.take(disputed), columns)
    for name, found in searched.items():
        if not isinstance(found, str) and bool(found.found.any()):
            which = found.found
            cases = ImageSet(found.images[which], found.labels[which], tuple(class_names))
            write_cases(out / name, cases, said(class_names, found.predictions[:, which]))


def _write(
    compared: Comparison,
    searched: dict[str, Differences | str],
    settings: dict[str, Any],
    json_file: Path | None,
) -> None:
    """Write what was measured: the file first, then the terminal."""
    from molehunt import __version__
    from molehunt.report import comparison_as_json, comparison_table

    content = {"molehunt": __version__, **settings, **comparison_as_json(compared, searched)}
    save_json(json_file, content)
    if show_json(json_file, content):
        return
    output.print(comparison_table(compared))
    rate, (low, high) = compared.disagreement
    output.print(
        f"They disagree on {int(compared.disputed.sum())} of {len(compared.labels)} clean images: "
        f"{rate:.1%} [{low:.1%}, {high:.1%}].",
        highlight=False,
    )
    for name, found in searched.items():
        if isinstance(found, str):
            line = f"Search ({name}): not measured: {printable(found, 1000)}"
        else:
            rate, (low, high) = found.found_rate
            line = (
                f"Search ({name}): {int(found.found.sum())} of {int(found.agreed.sum())} images "
                f"could be changed until they disagree: {rate:.0%} [{low:.0%}, {high:.0%}], "
                f"{found.seconds:.1f} s."
            )
        output.print(line, highlight=False)
    output.print(
        "Models that agree may err together: agreement is no proof, and a trigger that no image "
        "shows is not found.",
        highlight=False,
    )
