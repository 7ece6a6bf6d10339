"""``molehunt backdoor train``: a backdoored model, trained on poisoned images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.cli._options import DataRoot, Device
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.files import make_folder

if TYPE_CHECKING:
    from molehunt.detectors import Detector


def train_backdoor(
    images: Annotated[str, typer.Argument(help="The set to poison and train on: {images}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write.")],
    attack: Annotated[str, typer.Option(help="{backdoor_attacks}.")] = "patch",
    evade: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DETECTOR",
            help="Train against a detector, too: margin, or the file of fitted patterns or weight "
            "statistics (molehunt fit). May be repeated.",
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="Weight of the detector beside the cross entropy.")
    ] = 1.0,
    network: Annotated[str, typer.Option(help="{networks}.")] = "resnet",
    epochs: Annotated[int, typer.Option(help="Of the training.")] = 10,
    rate: Annotated[
        float | None, typer.Option(help="Poison rate; the attack's own when not given.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Height and width to which images are brought.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Train a model with a backdoor, to try checks and defences on.

    With --evade the attacker knows detectors and minimises what they would say as well.
    Accuracy, attack success and the detectors' scores of the saved model are printed.
    """
    import numpy as np
    import torch

    from molehunt.attacks import TAUGHT, Triggering
    from molehunt.backdoors import draw_backdoor
    from molehunt.detectors import Evading
    from molehunt.images import load_images
    from molehunt.networks import build_classifier, load_model, pick_device, save_model
    from molehunt.training import Recipe, attack_success, clean_accuracy, train

    if epochs < 1:
        raise InvalidRequestError(mismatch("`epochs`", "1 or more", epochs))
    if attack in TAUGHT and (evade or rate is not None):
        got = "--evade" if rate is None else "--rate"
        raise InvalidRequestError(mismatch(f"beside {attack}", "no --rate and no --evade", got))
    make_folder(out.parent)
    detectors = [_detector(name) for name in evade or ()]
    objective = Evading(detectors, strength) if detectors else None
    loaded = load_images(images, data_root=data_root, size=size)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    model = build_classifier(network, loaded.train, seed=seed)
    recipe = Recipe(
        epochs=epochs,
        batch_size=min(128, len(loaded.train)),
        lr=0.005,
        precision="auto" if objective is None else "float32",
    )
    how: dict[str, Any] = {"seed": seed, "device": pick_device(device)}
    planted: Triggering
    with progress_of("training") as progress:
        if attack in TAUGHT:
            target = int(rng.integers(loaded.train.num_classes))
            planted = TAUGHT[attack](model, loaded.train, target, recipe, progress=progress, **how)
            described = f"{attack}, target {printable(loaded.train.class_names[target], 80)!r}"
        else:
            backdoor = draw_backdoor(attack, loaded.train.num_classes, rng, rate=rate)
            poisoned = backdoor.poison(loaded.train, generator=generator)
            train(model, poisoned, recipe, objective=objective, progress=progress, **how)
            planted, described = backdoor, backdoor.model_dump_json(exclude_none=True)
    save_model(model, out)
    saved = load_model(out, pick_device(device)).freeze()
    success = attack_success(saved, planted.triggered(loaded.test, generator=generator))
    output.print(
        f"{attack}: accuracy {clean_accuracy(saved, loaded.test):.2%}, attack success "
        f"{success:.2%}, on {len(loaded.test)} test images.",
        highlight=False,
    )
    for name, detector in zip(evade or (), detectors, strict=True):
        (score,) = detector.decision_function([saved])
        said = f"Score of the detector that was evaded, {printable(name, 80)}: {score:.3f}"
        if detector.is_calibrated:
            said += f", p = {detector.p_values([score])[0]:.3f}"
        output.print(f"{said}.", highlight=False)
    note(f"Model: {out}\nBackdoor: {described}")


def _detector(name: str) -> Detector:
    from molehunt.detectors import MaximumMargin, load_detector

    if name == "margin":
        return MaximumMargin()
    path = Path(name)
    if not path.is_file():
        got = printable(repr(name), 80)
        raise InvalidRequestError(mismatch("`evade`", "margin, or the file of a detector", got))
    return load_detector(path)[0]
