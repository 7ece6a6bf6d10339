"""``molehunt attack``: what attackers can do to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.cli._attack_words import class_of, reveals_of
from molehunt.cli._commands import Command
from molehunt.cli._infer import infer
from molehunt.cli._options import (
    Clean,
    ContractFile,
    DataRoot,
    Device,
    JsonFile,
    Seed,
    WeightsName,
    parse_fraction,
    read_opening,
)
from molehunt.cli._outputs import PNG_MARKS, check_output, save_json, show_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable
from molehunt.files import check_replaceable, make_folder

if TYPE_CHECKING:
    from molehunt.attacks import EvasionAttack, Measured
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier, Reveals

app = typer.Typer(help="Attack a model, and say what it withstands.")
# Of attacks that need one; RobustBench's for CIFAR-10.
_USUAL_RADII = {"linf": 8 / 255, "l2": 0.5}


@app.callback()
def _group() -> None:
    """Attack a model, and say what it withstands."""


app.command("infer", cls=Command)(infer)


@app.command("evade", cls=Command)
def evade(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    clean: Annotated[str, Clean],
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="{evasion_attacks}; may be repeated. By default auto-projected-gradient on "
            "weights, random-squares on confidences, hopskipjump on labels; with --curve fmn and "
            "hopskipjump in all their norms.",
        ),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="linf, l2 or l0; each attack's usual one when not given.")
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option(
            help="Most that a change may be, for pixels in [0, 1]: 8/255 or 0.03; a number of "
            "pixels for l0. By default 8/255 in linf and 0.5 in l2 for attacks that need one."
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="glasses|sticker|FILE",
            help="Paint drawn eyeglasses, a sticker in the middle, or what is bright in an image "
            "file, and nothing else: by gradients on weights, by a swarm on confidences. Random "
            "colours in the same mask stand beside it.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The class, by name or number, that images shall be taken for."),
    ] = None,
    reveals: Annotated[
        str | None,
        typer.Option(
            help="What the attacker sees: weights, confidences, rounded or labels. Default: as "
            "much as the model can reveal."
        ),
    ] = None,
    queries: Annotated[
        int | None, typer.Option(help="Most images that each attack may ask the model about.")
    ] = None,
    images: Annotated[int, typer.Option(help="Clean images that are attacked.")] = 100,
    controls: Annotated[
        bool,
        typer.Option(help="Look for signs that an attack failed where a model withstands it."),
    ] = True,
    seed: Seed = 0,
    contract: ContractFile = None,
    weights: WeightsName = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A folder for the images and a table of them."),
    ] = None,
    json_file: JsonFile = None,
    curve: Annotated[
        Path | None, typer.Option(help="Write a figure (PNG): accuracy over the size of changes.")
    ] = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Change images so that a model errs. Exit code: 0 measured, 3 if an attack could not run."""
    from molehunt.attacks import measure_evasion
    from molehunt.images import load_test_images
    from molehunt.networks import most_revealed
    from molehunt.scanning import open_model

    _check_outputs(out, json_file, curve)
    stated_reveals = reveals_of(reveals)
    if images < 1:
        raise InvalidRequestError(mismatch("number of `images`", "1 or more", images))
    shown = load_test_images(clean, data_root=data_root)
    opening = read_opening(contract, weights)
    opened = open_model(model, opening=opening, clean=shown, device=device)
    shown = _pick(shown, opened, images, seed)
    seen = stated_reveals or most_revealed(opened)
    wanted = None if target is None else class_of("target", target, opened.card.class_names)
    if mask is None:
        attacks = _attacks(attack, norm, epsilon, seen, curve is not None, shown, wanted)
    else:
        if attack or norm or epsilon or curve:
            allowed = "no --attack, --norm, --epsilon or --curve with it"
            raise InvalidRequestError(mismatch("`mask`", allowed, "one of them"))
        attacks = _inside(mask, seen, shown)
    results: list[Measured] = []
    interrupted = False
    with progress_of("images") as progress:
        found = measure_evasion(
            opened,
            shown,
            attacks,
            reveals=seen,
            targets=None if wanted is None else _all_of(wanted, shown),
            budget=queries,
            controls=controls,
            seed=seed,
            progress=progress,
        )
        try:
            results.extend(found)
        except KeyboardInterrupt:
            interrupted = True
    whole = all(result.evaded is not None for result in results)
    code = ExitCode.CLEAN if whole else ExitCode.INCONCLUSIVE
    settings = {"model": model, "clean": clean, "images": len(shown), "seed": seed}
    _write(results, code, settings, out=out, json_file=json_file, curve=curve)
    if interrupted:
        raise KeyboardInterrupt
    return int(code)


def _check_outputs(out: Path | None, json_file: Path | None, curve: Path | None) -> None:
    """Refuse outputs that cannot be written, before the work."""
    check_output(json_file, "the results of attacks (JSON)")
    check_output(curve, "a figure (PNG)", PNG_MARKS)
    if out is not None:
        from molehunt.report import CSV_MARKS

        make_folder(out)
        check_replaceable(out / "results.csv", "the results of attacks", CSV_MARKS)


def _pick(shown: ImageSet, model: Classifier, count: int, seed: int) -> ImageSet:
    import torch

    drawn = shown.sample(count, torch.Generator().manual_seed(seed))
    return drawn.shaped(model.card.input_shape).named(model.card.class_names)


def _all_of(wanted: int, shown: ImageSet) -> Any:
    import torch

    return torch.full((len(shown),), wanted)


def _attacks(
    names: Sequence[str] | None,
    norm: str | None,
    epsilon: str | None,
    reveals: Reveals,
    curve: bool,
    shown: ImageSet,
    wanted: int | None,
) -> list[EvasionAttack]:
    """Return the attacks that were asked for, or the usual ones for what is revealed."""
    from molehunt.attacks import ATTACKS, new_attack
    from molehunt.networks import Reveals

    usual = {
        Reveals.WEIGHTS: "fmn" if curve else "auto-projected-gradient",
        Reveals.LABELS: "hopskipjump",
    }.get(reveals, "hopskipjump" if curve else "random-squares")
    unknown = [name for name in names or () if name not in ATTACKS]
    if unknown:
        got = printable(repr(unknown[0]))
        raise InvalidRequestError(mismatch("`attack`", f"one of {', '.join(ATTACKS)}", got))
    in_all_norms = curve and not names and norm is None
    pairs: list[tuple[str, str | None]] = [
        (name, one)
        for name in names or [usual]
        for one in (ATTACKS[name].norms if in_all_norms else [norm or _usual_norm(name)])
    ]
    if epsilon is not None and len({one for _, one in pairs}) > 1:
        raise InvalidRequestError(mismatch("`epsilon`", "one norm for all attacks", "several"))
    made = []
    for name, one in pairs:
        kind = ATTACKS[name]
        if wanted is not None and not kind.targeted:
            raise InvalidRequestError(mismatch(f"attack {name}", "no target", "one"))
        usual_radius = _USUAL_RADII.get(str(one)) if kind.bounded else None
        radius = usual_radius if epsilon is None else parse_fraction("`epsilon`", epsilon)
        more: dict[str, Any] = {}
        if wanted is not None and kind.starts:
            # What the attacker wants to look like, it has pictures of.
            more["starts"] = shown.take((shown.labels == wanted).nonzero().flatten()[:10]).pixels()
        made.append(new_attack(name, norm=one, epsilon=radius, **more))
    return made


def _inside(mask: str, reveals: Reveals, shown: ImageSet) -> list[EvasionAttack]:
    """Return the attack inside a mask for what is revealed, and random colours beside it."""
    from molehunt.attacks import (
        Masked,
        RandomColours,
        Swarm,
        draw_eyeglasses,
        draw_sticker,
        read_mask,
    )
    from molehunt.networks import Reveals

    if reveals is Reveals.LABELS:
        allowed = "a target that reveals weights or confidences"
        raise InvalidRequestError(mismatch("`mask`", allowed, reveals.value))
    _, height, width = shown.shape
    if mask == "glasses":
        place = draw_eyeglasses(height, width)
    elif mask == "sticker":
        place = draw_sticker(height, width)
    else:
        place = read_mask(Path(mask), height, width)
    painted = Masked(place) if reveals is Reveals.WEIGHTS else Swarm(place)
    return [painted, RandomColours(place)]


def _usual_norm(name: str) -> str | None:
    from molehunt.attacks import ATTACKS

    return next(iter(ATTACKS[name].norms), None)


def _write(
    results: list[Measured],
    code: ExitCode,
    settings: dict[str, Any],
    *,
    out: Path | None,
    json_file: Path | None,
    curve: Path | None,
) -> None:
    """Write what was measured: files first, then the terminal."""
    from molehunt.report import evasion_as_json, evasion_table, save_curves, write_evasion

    content = evasion_as_json(results, code, **settings)
    save_json(json_file, content)
    if out is not None:
        write_evasion(out, results)
    if curve is not None:
        save_curves(results, curve)
    if show_json(json_file, content):
        return
    first = next((result.evaded for result in results if result.evaded is not None), None)
    if first is not None:
        rate, (low, high) = first.clean_accuracy
        output.print(
            f"{settings['images']} clean images, accuracy {rate:.0%} [{low:.0%}, {high:.0%}]",
            highlight=False,
        )
    output.print(evasion_table(results))
    for result in results:
        if result.remark:
            output.print(printable(f"{result.attack.name}: {result.remark}", 1000), highlight=False)
    if out is not None:
        note(f"Images: {out}")
    if curve is not None:
        note(f"Security curve: {curve}")
