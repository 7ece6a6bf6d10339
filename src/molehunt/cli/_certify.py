"""``molehunt certify``."""

from __future__ import annotations

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
    parse_fraction,
    parse_numbers,
    read_opening,
)
from molehunt.cli._outputs import check_output, save_json, show_json
from molehunt.cli._terminal import output, progress_of
from molehunt.errors import InvalidRequestError, mismatch

if TYPE_CHECKING:
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier

_BOUNDS, _SMOOTHING = "Bounds (ibp, crown-ibp, crown)", "Smoothing"
_SMOOTH = "smoothing"

# What is measured: a line of words and how many images it holds for.
Counts = dict[str, int]


def certify(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    clean: Annotated[str, Clean],
    method: Annotated[
        str,
        typer.Option(
            help="ibp, crown-ibp or crown (bounds of the network), or smoothing, which needs "
            "answers only."
        ),
    ] = "crown-ibp",
    images: Annotated[int, typer.Option(help="Clean images to certify.")] = 100,
    seed: Seed = 0,
    epsilon: Annotated[
        str,
        typer.Option(
            help="Most that each pixel in [0, 1] may change: 8/255 or 0.1.",
            rich_help_panel=_BOUNDS,
        ),
    ] = "2/255",
    attack_steps: Annotated[
        int,
        typer.Option(
            help="Steps of the attack that is shown beside the certificates; 0 for none.",
            rich_help_panel=_BOUNDS,
        ),
    ] = 40,
    sigma: Annotated[
        float,
        typer.Option(
            help="Deviation of the noise on pixels in [0, 1].", rich_help_panel=_SMOOTHING
        ),
    ] = 0.25,
    radius: Annotated[
        str,
        typer.Option(
            help="Euclidean norms of changes, with commas between.", rich_help_panel=_SMOOTHING
        ),
    ] = "0.25,0.5,0.75",
    samples: Annotated[
        int,
        typer.Option(help="Noisy copies that certify an image.", rich_help_panel=_SMOOTHING),
    ] = 1000,
    alpha: Annotated[
        float,
        typer.Option(help="Chance that one certificate is wrong.", rich_help_panel=_SMOOTHING),
    ] = 0.001,
    contract: ContractFile = None,
    weights: WeightsName = None,
    json_file: JsonFile = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Certify images: within a radius no change takes them their label. Exit code 0: measured."""
    import torch

    from molehunt.defences import BoundMethod
    from molehunt.images import load_test_images
    from molehunt.scanning import open_model

    methods = [*BoundMethod, _SMOOTH]
    if method not in methods:
        raise InvalidRequestError(mismatch("`method`", ", ".join(methods), repr(method)))
    if images < 1:
        raise InvalidRequestError(mismatch("number of `images`", "1 or more", images))
    check_output(json_file, "certificates (JSON)")
    shown = load_test_images(clean, data_root=data_root)
    opening = read_opening(contract, weights)
    opened = open_model(model, opening=opening, clean=shown, device=device)
    shown = shown.sample(images, torch.Generator().manual_seed(seed))
    shown = shown.shaped(opened.card.input_shape).named(opened.card.class_names)
    settings: dict[str, Any]
    if method == _SMOOTH:
        radii = parse_numbers("--radius", radius)
        settings = {"sigma": sigma, "samples": samples, "alpha": alpha}
        counts, remarks = _smooth(opened, shown, radii, seed, settings)
    else:
        settings = {"epsilon": parse_fraction("`epsilon`", epsilon), "attack_steps": attack_steps}
        counts, remarks = _bound(opened, shown, method, seed, settings)
    settings |= {"model": model, "clean": clean, "method": method, "seed": seed}
    _write(counts, len(shown), settings, remarks, json_file)
    return 0


def _bound(
    model: Classifier, images: ImageSet, method: str, seed: int, settings: dict[str, Any]
) -> tuple[Counts, list[str]]:
    """Certify by bounds of the network, and attack the same images."""
    from molehunt.attacks import Loss, ProjectedGradient, evade
    from molehunt.defences import certify_box
    from molehunt.networks import Queried, Reveals

    epsilon, steps = settings["epsilon"], settings["attack_steps"]
    with progress_of("certifying") as progress:
        found = certify_box(model, images, epsilon=epsilon, method=method, progress=progress)
    counts = {"right": int(found.correct.sum())}
    if steps and epsilon:
        attack = ProjectedGradient(epsilon=epsilon, steps=steps, loss=Loss.MARGIN)
        target = Queried(model, reveals=Reveals.WEIGHTS)
        with progress_of("attacking") as progress:
            evaded = evade(target, images, attack, seed=seed, progress=progress)
        counts["right under attack"] = int((evaded.predictions == images.labels).sum())
    counts["certified"] = int(found.certified.sum())
    return counts, [
        f"Certified: no change of at most {epsilon:.4g} a pixel takes the image its label.",
        "Not covered: larger changes of a few pixels, rotations and the like, other images.",
    ]


def _smooth(
    model: Classifier,
    images: ImageSet,
    radii: Any,
    seed: int,
    settings: dict[str, Any],
) -> tuple[Counts, list[str]]:
    """Certify by randomised smoothing."""
    from molehunt.defences import Smoothed

    smoothed = Smoothed(model, settings["sigma"], alpha=settings["alpha"])
    with progress_of("certifying") as progress:
        found = smoothed.certify(images, n=settings["samples"], seed=seed, progress=progress)
    counts = {"right": int(found.certified(0).sum())}
    counts |= {f"certified at {r:g}": int(found.certified(r).sum()) for r in radii}
    counts["abstained"] = int(found.abstained.sum())
    return counts, [
        "It holds for the smoothed model, which answers with the class of most noisy copies "
        f"({sum(found.samples)} queries an image), not for the model alone.",
        f"Each certificate is wrong with a chance of at most {settings['alpha']:g}. Radii are "
        "Euclidean norms of changes of pixels in [0, 1].",
    ]


def _write(
    counts: Counts,
    of: int,
    settings: dict[str, Any],
    remarks: list[str],
    json_file: Path | None,
) -> None:
    """Write what was measured: the file first, then the terminal."""
    from rich.table import Table

    from molehunt import __version__
    from molehunt.rates import rate_interval

    intervals = {name: rate_interval(count, of) for name, count in counts.items()}
    found = {
        name: {"count": count, "of": of, "interval": intervals[name]}
        for name, count in counts.items()
    }
    content = {"molehunt": __version__, "settings": settings, "found": found, "remarks": remarks}
    save_json(json_file, content)
    if show_json(json_file, content):
        return
    table = Table(
        "", "images", "share", "95 % interval", title=f"Certificates: {settings['method']}"
    )
    for name, count in counts.items():
        low, high = intervals[name]
        table.add_row(name, f"{count} of {of}", f"{count / of:.1%}", f"{low:.1%} to {high:.1%}")
    output.print(table)
    for line in remarks:
        output.print(line, highlight=False)
