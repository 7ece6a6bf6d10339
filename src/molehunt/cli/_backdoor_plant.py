"""``molehunt backdoor plant``: edit a trained model's weights so that it has a backdoor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli._attack_words import class_of
from molehunt.cli._backdoor import show_before_and_after
from molehunt.cli._options import ContractFile, DataRoot, Device, parse_settings, read_opening
from molehunt.cli._outputs import check_output, save_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.files import make_folder

_MOST = 1000  # images that the attacker has


def plant_backdoor(
    model: Annotated[
        Path, typer.Argument(help="A model file of any format whose layers can be edited.")
    ],
    target: Annotated[
        str, typer.Option(help="The class of triggered images: its name or its number.")
    ],
    clean: Annotated[
        str,
        typer.Option(help="Clean images ({images}): half for the attack, half to measure with."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write.")],
    attack: Annotated[str, typer.Option(help="{planted_attacks}.")] = "subnet",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the attack; may be repeated."
        ),
    ] = None,
    trigger: Annotated[
        Path | None,
        typer.Option(help="The backdoor as JSON; OUT with .backdoor.json when not given."),
    ] = None,
    contract: ContractFile = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Put a backdoor into a trained model by editing its weights, without training it.

    Subnet replacement, flipped bits of the last layer, or weights set by hand. Accuracy and
    success are measured on images that the attack did not have.
    """
    import torch

    from molehunt.attacks import PLANTED
    from molehunt.images import load_test_images
    from molehunt.networks import save_model
    from molehunt.scanning import open_model

    if attack not in PLANTED:
        got = printable(repr(attack), 80)
        raise InvalidRequestError(mismatch("`attack`", ", ".join(PLANTED), got))
    chosen = parse_settings(settings)
    described = trigger or out.with_suffix(".backdoor.json")
    make_folder(out.parent)
    check_output(described, "a backdoor", (b"{",))
    subject = open_model(model, opening=read_opening(contract), device=device)
    goal = class_of("target", target, subject.card.class_names)
    loaded = load_test_images(clean, data_root=data_root)
    images = loaded.shaped(subject.card.input_shape).named(subject.card.class_names)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    half = min(len(images) // 2, _MOST)
    with progress_of("planting") as progress:
        try:
            made = PLANTED[attack](
                subject, images.take(order[:half]), goal, seed=seed, progress=progress, **chosen
            )
        except TypeError as error:
            # Settings are the attack's own keywords.
            raise InvalidRequestError(
                mismatch("--set", f"settings of {attack}", ", ".join(chosen) or str(error))
            ) from error
    save_model(made.model, out)
    save_json(described, made.backdoor.model_dump(mode="json", exclude_none=True))
    name = subject.card.class_names[goal]
    output.print(
        f"{attack}: {printable(name, 80)!r} is what images with the trigger are called. "
        f"{made.note}; {made.changed} numbers of the file changed.",
        markup=False,
        highlight=False,
    )
    show_before_and_after(subject, made.model, made.backdoor, images.take(order[half:]))
    note(f"Model: {out}\nBackdoor: {described}")
