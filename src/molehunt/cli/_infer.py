"""``molehunt attack infer``: what a model gives away of its training set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.cli._options import (
    ContractFile,
    DataRoot,
    Device,
    JsonFile,
    WeightsName,
    load_members,
    parse_settings,
    read_opening,
)
from molehunt.cli._outputs import PNG_MARKS, check_output, save_json, show_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable

if TYPE_CHECKING:
    from molehunt.attacks import Inferred, MembershipAttack, ShadowModels
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier, Reveals
    from molehunt.training import Recipe

_POPULATION = 500  # images for `rmia`, at most a third of the non-members
_WITHOUT = ("loss-threshold", "label-robustness")
_WITH_SHADOWS = ("lira", "lira-offline", "rmia", "rmia-online")


def infer(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    members: Annotated[
        str,
        typer.Option(
            metavar="SET",
            help="Images that the model was trained on: the training images of {images}, or a "
            "folder of class folders.",
        ),
    ],
    non_members: Annotated[
        str,
        typer.Option(
            "--non-members",
            metavar="SET",
            help="Images like them that it was not trained on: the test images of a set, or a "
            "folder of class folders.",
        ),
    ],
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="loss-threshold, label-robustness; with --shadows also lira, lira-offline, rmia, "
            "rmia-online. May be repeated. By default the first two, lira and rmia.",
        ),
    ] = None,
    shadows: Annotated[
        int | None,
        typer.Option(
            help="Shadow models to train, each on a random half of all images: an even number, "
            "the more the better; the literature has 16 to 256."
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="The shadow models' architecture; the model's own when it says which."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of --network; may be repeated."
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="How shadow models are trained (epochs, lr, …); may be repeated. What is not "
            "given is as the model's file says, if it does.",
        ),
    ] = None,
    shadow_folder: Annotated[
        Path | None,
        typer.Option(help="Keep shadow models there, and go on with those that are there."),
    ] = None,
    reveals: Annotated[
        str | None,
        typer.Option(help="What the attacker sees: confidences, rounded or labels."),
    ] = None,
    shift: Annotated[
        int,
        typer.Option(
            help="Also ask lira's questions about images moved by so many pixels, as they were "
            "in training: five times the queries."
        ),
    ] = 0,
    queries: Annotated[
        int | None, typer.Option(help="Most images that each attack may ask the model about.")
    ] = None,
    images: Annotated[
        int, typer.Option(help="Members, and non-members, that are asked about.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of all draws and of the shadow models.")] = 0,
    contract: ContractFile = None,
    weights: WeightsName = None,
    json_file: JsonFile = None,
    roc: Annotated[
        Path | None, typer.Option(help="Write a figure (PNG): the ROC curves, on log axes.")
    ] = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Guess what a model was trained on. Exit code: 0 measured, 3 if an attack could not run."""
    from molehunt.attacks import infer_membership
    from molehunt.images import load_test_images
    from molehunt.networks import Reveals
    from molehunt.scanning import open_model

    check_output(json_file, "the results of attacks (JSON)")
    check_output(roc, "a figure (PNG)", PNG_MARKS)
    seeable = [Reveals.CONFIDENCES, Reveals.ROUNDED, Reveals.LABELS]
    if reveals is not None and reveals not in seeable:
        raise InvalidRequestError(mismatch("`reveals`", ", ".join(seeable), reveals))
    if images < 2:
        raise InvalidRequestError(mismatch("number of `images`", "2 or more", images))
    names = _check_names(attack, shadows)
    inside = load_members(members, data_root)
    outside = load_test_images(non_members, data_root=data_root)
    opening = read_opening(contract, weights)
    opened = open_model(model, opening=opening, clean=inside, device=device)
    draw = _Draw(inside, outside, opened, images, seed, population=shadows is not None)
    seen = Reveals(reveals) if reveals is not None else seeable[2 if opened.answers.doubt else 0]
    trained = None
    if shadows is not None:
        name, arguments, how = _shadow_settings(opened, network, settings, recipe)
        note(f"Shadow models: {shadows} of {name}, {how.epochs:g} epochs each")
        trained = _train(
            draw.candidates, shadows, name, arguments, how, seed, shadow_folder, device
        )
    attacks = _attacks(names, seen, trained, draw.population, shift)
    found = infer_membership(
        opened, draw.asked, draw.members, attacks, reveals=seen, budget=queries
    )
    results: list[Inferred] = []
    interrupted = False
    try:
        with progress_of("attacks") as progress:
            for result in found:
                results.append(result)
                progress(len(results), len(attacks))
    except KeyboardInterrupt:
        interrupted = True
    whole = all(result.exposure is not None for result in results)
    code = ExitCode.CLEAN if whole else ExitCode.INCONCLUSIVE
    stated_settings = {
        "model": model,
        "members": members,
        "non_members": non_members,
        "shadows": shadows or 0,
        "seed": seed,
    }
    _write(results, code, stated_settings, json_file=json_file, roc=roc)
    if interrupted:
        raise KeyboardInterrupt
    return int(code)


def _check_names(names: Sequence[str] | None, shadows: int | None) -> list[str] | None:
    if names is None:
        return None
    known = (*_WITHOUT, *_WITH_SHADOWS)
    for name in names:
        if name not in known:
            got = printable(repr(name))
            raise InvalidRequestError(mismatch("`attack`", f"one of {', '.join(known)}", got))
        if name in _WITH_SHADOWS and shadows is None:
            raise InvalidRequestError(mismatch(f"attack {name}", "a number of `shadows`", "none"))
    return list(names)


class _Draw:
    """The images of both sides: what shadow models see, what is asked about, and others."""

    def __init__(
        self,
        inside: ImageSet,
        outside: ImageSet,
        model: Classifier,
        count: int,
        seed: int,
        *,
        population: bool,
    ) -> None:
        import torch

        inside, outside = (
            part.shaped(model.card.input_shape).named(model.card.class_names)
            for part in (inside, outside)
        )
        known = {image.numpy().tobytes() for image in inside.images}
        fresh = torch.tensor([image.numpy().tobytes() not in known for image in outside.images])
        if not bool(fresh.all()):
            note(f"{int((~fresh).sum())} of the non-members are members, too: left out")
            outside = outside.take(fresh)
        if min(len(inside), len(outside)) < 2:
            got = f"{len(inside)} and {len(outside)}"
            raise InvalidRequestError(
                mismatch("members and non-members", "2 or more of each, all different", got)
            )
        generator = torch.Generator().manual_seed(seed)
        outside = outside.sample(len(outside), generator)
        held = min(_POPULATION, len(outside) // 3) if population else 0
        rest = torch.arange(len(outside))
        self.population = outside.take(rest[:held])
        outside = outside.take(rest[held:])
        self.candidates = inside.joined(outside)
        chosen = inside.sample(count, generator), outside.sample(count, generator)
        self.asked = chosen[0].joined(chosen[1])
        self.members = torch.arange(len(self.asked)) < len(chosen[0])


def _shadow_settings(
    model: Classifier,
    network: str | None,
    settings: Sequence[str] | None,
    recipe: Sequence[str] | None,
) -> tuple[str, dict[str, Any], Recipe]:
    """Return the shadow models' network and recipe: what was asked for, else as the card says."""
    from pydantic import ValidationError

    from molehunt.errors import from_validation
    from molehunt.networks import NETWORKS
    from molehunt.training import Recipe

    card = model.card
    own = card.architecture in NETWORKS
    if network is None and not own:
        allowed = "an architecture for shadow models, as the model does not say its own"
        raise InvalidRequestError(mismatch("`network`", allowed, "none"))
    arguments = dict(card.arguments) if network in (None, card.architecture) else {}
    arguments |= parse_settings(settings)
    given = parse_settings(recipe, flag="--recipe")
    known = Recipe.settings_in(card.recipe)
    try:
        return network or card.architecture, arguments, Recipe.model_validate({**known, **given})
    except ValidationError as error:
        raise from_validation(error, "recipe of the shadow models") from error


def _train(
    candidates: ImageSet,
    count: int,
    network: str,
    arguments: dict[str, Any],
    recipe: Recipe,
    seed: int,
    folder: Path | None,
    device: str,
) -> ShadowModels:
    from molehunt.attacks import ShadowModels
    from molehunt.networks import pick_device

    with progress_of("shadow models") as progress:
        return ShadowModels.train(
            candidates,
            count,
            network,
            arguments,
            recipe,
            seed=seed,
            folder=folder,
            device=pick_device(device),
            progress=progress,
        )


def _attacks(
    names: Sequence[str] | None,
    seen: Reveals,
    shadows: ShadowModels | None,
    population: ImageSet,
    shift: int,
) -> list[MembershipAttack]:
    """Return the attacks that were asked for, or those that can run."""
    from molehunt.attacks import LabelRobustness, LikelihoodRatio, LossThreshold, RobustMembership
    from molehunt.networks import Reveals

    made: dict[str, MembershipAttack] = {
        "loss-threshold": LossThreshold(),
        "label-robustness": LabelRobustness(),
    }
    usual = [*_WITHOUT] if seen is not Reveals.LABELS else ["label-robustness"]
    if shadows is not None:
        made["lira"] = LikelihoodRatio(shadows, shift=shift)
        made["lira-offline"] = LikelihoodRatio(shadows, online=False, shift=shift)
        made["rmia"] = RobustMembership(shadows, population)
        made["rmia-online"] = RobustMembership(shadows, population, online=True)
        usual += ["lira", "rmia"] if seen is not Reveals.LABELS else []
    return [made[name] for name in names or usual]


def _write(
    results: list[Inferred],
    code: ExitCode,
    settings: dict[str, Any],
    *,
    json_file: Path | None,
    roc: Path | None,
) -> None:
    """Write what was measured: files first, then the terminal."""
    from molehunt.report import membership_as_json, membership_table, save_membership

    content = membership_as_json(results, code, **settings)
    save_json(json_file, content)
    if roc is not None:
        save_membership(results, roc)
    if show_json(json_file, content):
        return
    output.print(membership_table(results))
    for result in results:
        if result.remark:
            output.print(printable(f"{result.attack.name}: {result.remark}", 1000), highlight=False)
    if roc is not None:
        note(f"ROC curves: {roc}")
