"""``molehunt attack steal``: a copy of a model from its answers, and what it is worth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt import __version__
from molehunt.cli._attack_words import reveals_of
from molehunt.cli._options import (
    Clean,
    ContractFile,
    DataRoot,
    Device,
    JsonFile,
    WeightsName,
    parse_fraction,
    read_opening,
)
from molehunt.cli._outputs import check_output, save_json, show_json
from molehunt.cli._terminal import note, output
from molehunt.errors import (
    ExitCode,
    InvalidRequestError,
    OutputError,
    UnreadableFileError,
    mismatch,
    printable,
)
from molehunt.files import make_folder

if TYPE_CHECKING:
    from molehunt.attacks import Stolen
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier, Queried

THEFTS = ("query-and-train", "equation-solving", "path-finding")
_QUERIES = 1000
_UNIFORM = 2000  # images of noise
_EVADED = 100  # images


def steal(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    clean: Annotated[str, Clean],
    out: Annotated[Path, typer.Option("--out", "-o", help="The copy's model file.")],
    attack: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="query-and-train (any model), equation-solving (logistic and softmax regression) "
            "or path-finding (decision trees).",
        ),
    ] = "query-and-train",
    queries: Annotated[
        int | None,
        typer.Option(
            help="Images that the model may be asked about. By default 1000 for query-and-train, a "
            "pixel and one for equation-solving, and no limit for path-finding."
        ),
    ] = None,
    reveals: Annotated[
        str | None,
        typer.Option(
            help="What the thief sees: confidences, rounded or labels. Default: as much as the "
            "model answers."
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="The copy's architecture for query-and-train: {networks}. By default vgg for "
            "square images, else mlp."
        ),
    ] = None,
    choice: Annotated[
        str,
        typer.Option(
            help="Which images query-and-train asks about: random, uncertain or line-search."
        ),
    ] = "random",
    epsilon: Annotated[
        str, typer.Option(help="Of the evasion from the copy, in linf: 8/255 or 0.03; 0 for none.")
    ] = "8/255",
    seed: Annotated[int, typer.Option(help="Of all draws and of the copy's weights.")] = 0,
    contract: ContractFile = None,
    weights: WeightsName = None,
    json_file: JsonFile = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Copy a model by its answers. Half of the clean images, without labels, are the thief's.

    Exit code: 0 stolen and measured, 3 if the theft cannot run on what is revealed.
    """
    check_output(json_file, "the results of attacks (JSON)")
    from molehunt.attacks import Choice
    from molehunt.images import load_test_images
    from molehunt.networks import Queried, Reveals, most_revealed, save_model
    from molehunt.scanning import open_model

    if attack not in THEFTS:
        raise InvalidRequestError(mismatch("`attack`", ", ".join(THEFTS), attack))
    if choice not in [*Choice]:
        raise InvalidRequestError(mismatch("`choice`", ", ".join(Choice), choice))
    make_folder(out.parent)
    _check_copy(out, model)
    radius = parse_fraction("`epsilon`", epsilon)
    if not 0 <= radius <= 1:
        raise InvalidRequestError(mismatch("`epsilon`", "0 to 1", epsilon))
    stated_reveals = reveals_of(reveals)
    if reveals == Reveals.WEIGHTS:
        allowed = "confidences, rounded or labels: who sees weights need not steal them"
        raise InvalidRequestError(mismatch("`reveals`", allowed, reveals))
    shown = load_test_images(clean, data_root=data_root)
    opening = read_opening(contract, weights)
    opened = open_model(model, opening=opening, clean=shown, device=device)
    seen: Reveals = stated_reveals or most_revealed(opened)
    if seen is Reveals.WEIGHTS:
        seen = Reveals.CONFIDENCES
    shown = shown.shaped(opened.card.input_shape).named(opened.card.class_names)
    thiefs, test = _halves(shown, seed)
    target = Queried(opened, reveals=seen, budget=queries)
    stolen = _run(attack, target, queries, thiefs, network, choice, seed)
    save_model(stolen.model, out)
    content = {
        "molehunt": __version__,
        "exit_code": int(ExitCode.CLEAN),
        "model": model,
        "clean": clean,
        "attack": attack,
        "reveals": seen.value,
        "seed": seed,
        "copy": str(out),
        "queries": stolen.queries,
        "seconds": round(stolen.seconds, 2),
        "note": stolen.note,
        **_measure(out, stolen, opened, test, radius),
    }
    save_json(json_file, content)
    if not show_json(json_file, content):
        _print(content)
        note(f"Copy: {out}")
    return int(ExitCode.CLEAN)


def _check_copy(out: Path, model: str) -> None:
    """Refuse to replace what is no model file of ours, or the original."""
    from molehunt.networks import read_card

    if out.is_dir():
        raise OutputError(mismatch(f"{out}", "a file for the copy", "a folder"))
    if not out.is_file():
        return
    if Path(model).is_file() and out.samefile(model):
        raise OutputError(f"{out}: is the original and is not replaced; name another file")
    try:
        read_card(out)
    except UnreadableFileError as error:
        raise OutputError(
            f"{out}: holds something else than a model file and is not replaced; name another file"
        ) from error


def _halves(shown: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Return the images that the thief has, and those on which the copy is measured."""
    import torch

    order = torch.randperm(len(shown), generator=torch.Generator().manual_seed(seed))
    middle = len(shown) // 2
    return shown.take(order[:middle]), shown.take(order[middle:])


def _run(
    attack: str,
    target: Queried,
    queries: int | None,
    thiefs: ImageSet,
    network: str | None,
    choice: str,
    seed: int,
) -> Stolen:
    from molehunt.attacks import Choice, EquationSolving, PathFinding, QueryAndTrain

    if attack == "equation-solving":
        return EquationSolving(queries=queries, seed=seed).steal(target)
    if attack == "path-finding":
        return PathFinding().steal(target)
    _, height, width = target.input_shape
    return QueryAndTrain(
        min(_QUERIES, len(thiefs)) if queries is None else queries,
        network or ("vgg" if height == width >= 8 else "mlp"),
        pool=thiefs.images,
        choice=Choice(choice),
        seed=seed,
    ).steal(target)


def _measure(
    out: Path, stolen: Stolen, original: Classifier, test: ImageSet, radius: float
) -> dict[str, Any]:
    """Return what the saved copy is worth; these questions are not the thief's."""
    from molehunt.attacks import uniform_images
    from molehunt.networks import Access, Queried, Reveals, load_model

    target = Queried(original, reveals=Reveals.LABELS)
    copy = load_model(out).to(target.device).freeze()
    saved = replace(stolen, model=copy)
    found: dict[str, Any] = {}
    for name, images in (
        ("clean", test.images),
        ("uniform", uniform_images(target.input_shape, _UNIFORM, seed=1)),
    ):
        rate, interval = saved.agreement(target, images)
        found[name] = {"rate": rate, "interval": list(interval), "images": len(images)}
    evasion = None
    if radius > 0 and Access.GRADIENTS in copy.gives:
        evasion = _evade(copy, target, test, radius)
    return {"agreement": found, "evasion": evasion}


def _evade(copy: Classifier, target: Queried, test: ImageSet, radius: float) -> dict[str, Any]:
    """Return how many images that are made with the copy's gradients fool the original."""
    import torch

    from molehunt.attacks import ProjectedGradient, Transferred, evade

    shown = test.take(torch.arange(min(_EVADED, len(test))))
    evaded = evade(target, shown, Transferred(ProjectedGradient(epsilon=radius), copy))
    rate, interval = evaded.success_rate
    return {
        "norm": "linf",
        "epsilon": radius,
        "attacked": int(evaded.attacked.sum()),
        "success": None if math.isnan(rate) else {"rate": rate, "interval": list(interval)},
    }


def _print(content: dict[str, Any]) -> None:
    said = f"{content['queries']:,} queries ({content['reveals']}), {content['seconds']:.1f} s"
    if content["note"]:
        said += f"; {content['note']}"
    output.print(printable(said, 1000), highlight=False)
    words = {"clean": "clean images", "uniform": "images of uniform noise"}
    for name, found in content["agreement"].items():
        low, high = found["interval"]
        output.print(
            f"agreement on {found['images']:,} {words[name]}: {found['rate']:.1%} "
            f"[{low:.1%}, {high:.1%}]",
            highlight=False,
        )
    evasion = content["evasion"]
    if evasion is None or evasion["success"] is None:
        return
    (low, high), rate = evasion["success"]["interval"], evasion["success"]["rate"]
    output.print(
        f"what is made to fool the copy (L∞ {evasion['epsilon']:.3g}) fools the original: "
        f"{rate:.0%} [{low:.0%}, {high:.0%}] of {evasion['attacked']} images, for no query",
        highlight=False,
    )
