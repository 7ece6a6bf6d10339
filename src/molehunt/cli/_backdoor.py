"""``molehunt backdoor``: put a backdoor into a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molehunt.cli._attack_words import class_of
from molehunt.cli._commands import Command
from molehunt.cli._options import DataRoot, Device, read_opening
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import InvalidRequestError, mismatch, printable

if TYPE_CHECKING:
    from molehunt.backdoors import Backdoor, MaskedPattern
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier

app = typer.Typer(help="Put a backdoor into a trained model, to try checks and defences on.")


@app.callback()
def _group() -> None:
    """Put a backdoor into a trained model, to try checks and defences on."""


@app.command("trojan", cls=Command)
def trojan(
    model: Annotated[
        Path, typer.Argument(help="A model file of any format whose layers can be trained.")
    ],
    target: Annotated[
        str, typer.Option(help="The class of triggered images: its name or its number.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The trojaned model file to write.")],
    trigger: Annotated[
        Path | None,
        typer.Option(help="The trigger's PNG; OUT with .trigger.png when not given."),
    ] = None,
    mask: Annotated[
        Literal["square", "logo", "watermark"], typer.Option(help="Where the trigger lies.")
    ] = "square",
    area: Annotated[
        float, typer.Option(help="Share of the image that a square or logo covers, in (0, 1].")
    ] = 0.07,
    opacity: Annotated[float, typer.Option(help="Of the trigger, in (0, 1].")] = 1.0,
    per_class: Annotated[
        int, typer.Option(help="Images of each class to reverse-engineer from the model.")
    ] = 20,
    clean: Annotated[
        str | None,
        typer.Option(help="Clean images ({images}) to measure with; the attack uses none."),
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(help="A TOML file with the input contract.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Trojan a model without any of its data (Liu et al. 2018).

    A trigger is generated that excites neurons of an inner layer, images of every class are
    reverse-engineered from the model, and the layers behind are retrained on them. With
    --clean accuracy and success are measured.
    """
    from molehunt.attacks import trigger_mask
    from molehunt.attacks import trojan as run
    from molehunt.files import make_folder
    from molehunt.images import load_test_images
    from molehunt.networks import save_model
    from molehunt.scanning import open_model

    make_folder(out.parent)
    picture = trigger or out.with_suffix(".trigger.png")
    opening = read_opening(contract)
    subject = open_model(model, opening=opening, device=device)
    goal = class_of("target", target, subject.card.class_names)
    images = None
    if clean is not None:
        loaded = load_test_images(clean, data_root=data_root)
        images = loaded.shaped(subject.card.input_shape).named(subject.card.class_names)
    region = trigger_mask(mask, *subject.card.input_shape[1:], area=area, opacity=opacity)
    with progress_of("trojaning") as progress:
        made = run(subject, goal, region, per_class=per_class, seed=seed, progress=progress)
    save_model(made.model, out)
    _save_trigger(made.trigger, picture)
    name = subject.card.class_names[goal]
    output.print(
        f"Trojaned: {printable(name, 80)!r} is what images with the trigger are called. "
        f"{len(made.neurons.units)} neurons of {made.neurons.layer}, "
        f"{len(made.layers)} layers behind retrained on {len(made.images)} reverse-engineered "
        "images.",
        markup=False,
        highlight=False,
    )
    if images is not None:
        show_before_and_after(subject, made.model, made.backdoor, images)
    note(f"Model: {out}\nTrigger: {picture}")


def _save_trigger(trigger: MaskedPattern, path: Path) -> None:
    """Write a trigger as PNG: its colours, and its opacity as transparency."""
    import torch
    from PIL import Image

    from molehunt.files import make_folder, written_whole

    colours, opacity = trigger.tensors()
    if len(colours) not in (1, 3):
        raise InvalidRequestError(mismatch("channels of a picture", "1 or 3", len(colours)))
    pixels = torch.cat([colours.expand(3, -1, -1), opacity]).mul(255).round().byte()
    make_folder(path.parent)
    with written_whole(path) as temporary:
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(temporary, "PNG")


def show_before_and_after(
    before: Classifier, after: Classifier, backdoor: Backdoor, images: ImageSet
) -> None:
    """Print accuracy and success of a model before and after it got a backdoor."""
    import torch
    from rich.table import Table

    from molehunt.training import attack_success, clean_accuracy

    triggered = backdoor.triggered(images, generator=torch.Generator())
    table = Table("", "before", "after", title=f"{len(images)} clean images", title_justify="left")
    models = (before, after)
    table.add_row("clean accuracy", *(f"{clean_accuracy(one, images):.2%}" for one in models))
    table.add_row("attack success", *(f"{attack_success(one, triggered):.2%}" for one in models))
    output.print(table)
