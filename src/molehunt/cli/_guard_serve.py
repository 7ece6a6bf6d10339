"""``molehunt guard serve``, and keys and pardons of its accounts."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molehunt.cli._options import (
    Clean,
    ContractFile,
    DataRoot,
    Device,
    WeightsName,
    parse_bytes,
    read_opening,
)
from molehunt.cli._terminal import note, output
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable

if TYPE_CHECKING:
    from molehunt.guard import Calibration
    from molehunt.images import ImageSet
    from molehunt.networks import Classifier

_DAY = 86_400.0
_IMAGES = 10_000


def serve(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Accounts: what `molehunt guard key` wrote. Without it each client address is "
            "an account.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `molehunt guard calibrate` wrote.")
    ] = None,
    clean: Annotated[str | None, Clean] = None,
    false_alarms: Annotated[
        float,
        typer.Option(
            help="Without --calibration: most honest queries, as a share, that raise an alarm."
        ),
    ] = 0.001,
    store: Annotated[
        str,
        typer.Option(
            metavar="memory|sqlite:PATH|redis://HOST",
            help="Where what accounts asked is remembered; several workers need Redis.",
        ),
    ] = "memory",
    forget_after: Annotated[
        float, typer.Option(metavar="DAYS", help="Days without a query; then all is forgotten.")
    ] = 30.0,
    action: Annotated[
        str, typer.Option(help="After an account's first alarm: log, throttle, block or wrong.")
    ] = "block",
    answers: Annotated[
        str, typer.Option(help="What is revealed: logits, confidences, rounded or labels.")
    ] = "confidences",
    name: Annotated[
        str | None, typer.Option(help="Of the model, in URLs; the file's when not given.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    batch: Annotated[int, typer.Option(help="Most images a request.")] = 32,
    max_body: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Most bytes a request, such as 1MiB; by the batch."),
    ] = None,
    contract: ContractFile = None,
    weights: WeightsName = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Answer for a model over HTTP (Open Inference Protocol), and watch what accounts ask."""
    from molehunt import guard
    from molehunt.images import load_test_images
    from molehunt.scanning import open_model

    for flag, text, allowed in (
        ("`action`", action, [*guard.Action]),
        ("`answers`", answers, [*guard.Answering]),
    ):
        if text not in allowed:
            raise InvalidRequestError(mismatch(flag, ", ".join(allowed), repr(text)))
    known = None if keys is None else guard.Keys.read(keys)
    shown = None if clean is None else load_test_images(clean, data_root=data_root)
    calibrated = None if calibration is None else guard.Calibration.read(calibration)
    if calibrated is None and shown is None:
        raise InvalidRequestError(mismatch("thresholds", "`calibration` or `clean`", "neither"))
    opening = read_opening(contract, weights)
    opened = open_model(model, opening=opening, clean=shown, device=device)
    if calibrated is None:
        assert shown is not None
        calibrated = calibrate_on(opened, shown, images=_IMAGES, seed=0, false_alarms=false_alarms)
    body = parse_bytes("--max-body", max_body) if max_body is not None else None
    shape = opened.card.input_shape
    limits = guard.Limits(batch=batch, body=body or guard.usual_body(shape, batch))
    serving = guard.Serving(
        name=guard.name_in_url(name or model),
        answering=guard.Answering(answers),
        keys=known,
        limits=limits,
    )
    service = guard.Service(
        source=model,
        calibration=calibrated,
        serving=serving,
        opening=opening,
        action=guard.Action(action),
        store=store,
        forget_after=forget_after * _DAY,
        device=device,
    )
    with guard.listen(host, port) as listening:
        address, number = listening.getsockname()[:2]
        shown_host = f"[{address}]" if ":" in address else address
        url = f"http://{shown_host}:{number}/v2/models/{serving.name}/infer"

        def say() -> None:
            if known is None:
                note("No keys: each client address is an account, and behind a proxy all are one.")
            note(f"{url}; /docs describes it")

        return service.run(listening, opened, workers=workers, ready=say)


def key(
    name: Annotated[str, typer.Argument(help="Of the account.")],
    keys: Annotated[
        Path, typer.Option(metavar="FILE", help="Where hashes of keys are kept; made if missing.")
    ] = Path("guard-keys.txt"),
    metrics: Annotated[
        bool, typer.Option("--metrics", help="A key that reads the metrics, and nothing else.")
    ] = False,
) -> int:
    """Make an API key for an account. It is shown once; the file gets its hash."""
    from molehunt.guard import new_key

    output.out(new_key(name, keys, metrics=metrics), highlight=False)
    note(f"Its hash is in {keys}; a running server reads it at its next start.")
    return ExitCode.CLEAN


def pardon(
    name: Annotated[str, typer.Argument(help="Of the account, as the server's log has it.")],
    store: Annotated[
        str,
        typer.Option(
            metavar="sqlite:PATH|redis://HOST", help="The server's; with SQLite, stop it first."
        ),
    ],
    calibration: Annotated[
        Path, typer.Option(metavar="FILE", help="What `molehunt guard calibrate` wrote.")
    ],
) -> int:
    """Forget an account with its alarms, so that it is answered again."""
    from molehunt import guard

    if store == "memory":
        raise InvalidRequestError(mismatch("`store`", "one that outlives its server", "memory"))
    monitors = guard.Calibration.read(calibration).monitors
    with closing(guard.open_store(store, monitors)) as kept:
        watching = guard.Guard(monitors, kept)
        known = watching.standing(name)
        if not known.queries:
            raise InvalidRequestError(f"account {printable(name, 120)}: it is not in the store")
        watching.pardon(name)
    first = f", the first by {known.flagged_by}" if known.is_flagged else ""
    told = f"{known.queries:,} queries are forgotten; alarms: {known.alarms:,}{first}"
    note(f"{printable(name, 120)}: {told}")
    return ExitCode.CLEAN


def calibrate_on(
    model: Classifier,
    shown: ImageSet,
    *,
    images: int,
    seed: int,
    false_alarms: float,
    prada: bool = False,
) -> Calibration:
    """Give the usual monitors thresholds, and PRADA if asked, and a new secret key."""
    import secrets

    import torch

    from molehunt import guard
    from molehunt.networks import logits_of

    drawn = shown.sample(images, torch.Generator().manual_seed(seed))
    drawn = drawn.shaped(model.card.input_shape)
    labels = logits_of(model, drawn.images).argmax(1)
    monitors: tuple[guard.Monitor, ...] = guard.usual_monitors(secrets.randbits(64))
    if prada:
        monitors = (*monitors, guard.Prada())
    return guard.calibrate(monitors, drawn.pixels(), labels, false_alarms=false_alarms)
