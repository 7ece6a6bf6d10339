"""``molehunt guard``: watch what a model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli import _guard_serve
from molehunt.cli._commands import Command
from molehunt.cli._options import Clean, ContractFile, DataRoot, Device, JsonFile, read_opening
from molehunt.cli._outputs import check_output, save_json, show_json
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable
from molehunt.files import check_replaceable, make_folder

app = typer.Typer(help="Watch what accounts ask a model, and say when an attack is seen.")
app.command("serve", cls=Command)(_guard_serve.serve)
app.command("key", cls=Command)(_guard_serve.key)
app.command("pardon", cls=Command)(_guard_serve.pardon)
_JSON_MARKS = (b"{", b'"molehunt"', b'"replayed"')
_MOST_ACCOUNTS = 100_000


@app.callback()
def _group() -> None:
    """Watch what accounts ask a model, and say when an attack is seen."""


@app.command("calibrate", cls=Command)
def calibrate(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    clean: Annotated[str, Clean],
    out: Annotated[Path, typer.Option("--out", "-o", help="The calibration file to write.")],
    false_alarms: Annotated[
        float, typer.Option(help="Most honest queries, as a share, that may raise an alarm.")
    ] = 0.001,
    images: Annotated[int, typer.Option(help="Most clean images that are used.")] = 10_000,
    prada: Annotated[
        bool,
        typer.Option(
            "--prada", help="Also watch for thefts by PRADA; it accuses many honest users."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the choice of images and their order.")] = 0,
    contract: ContractFile = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Give the monitors thresholds that honest queries seldom pass, and write them to a file.

    The file holds a new secret key. Clean images stand for honest queries: take what your users
    send.
    """
    from molehunt import guard
    from molehunt.images import load_test_images
    from molehunt.scanning import open_model

    make_folder(out.parent)
    check_replaceable(out, "a calibration of a guard", guard.Calibration.marks)
    shown = load_test_images(clean, data_root=data_root)
    opening = read_opening(contract)
    opened = open_model(model, opening=opening, clean=shown, device=device)
    found = _guard_serve.calibrate_on(
        opened, shown, images=images, seed=seed, false_alarms=false_alarms, prada=prada
    )
    found.save(out)
    for monitor in found.monitors:
        output.print(f"{monitor.kind}: alarm above {monitor.threshold:.4g}", highlight=False)
    note(f"{found.images:,} clean images, {false_alarms:.2%} false alarms at most: {out}")
    return ExitCode.CLEAN


@app.command("replay", cls=Command)
def replay(
    log: Annotated[
        Path,
        typer.Argument(help="An npz file: images, uint8 [N, C, H, W], and the answers' labels."),
    ],
    calibration: Annotated[
        Path, typer.Option(metavar="FILE", help="What `molehunt guard calibrate` wrote.")
    ],
    accounts: Annotated[
        str, typer.Option(metavar="N,...", help="Numbers of accounts that ask in turn.")
    ] = "1,10,100",
    json_file: JsonFile = None,
) -> int:
    """Say when each monitor would have raised its first alarm. Exit code: 1 if any did."""
    from molehunt import guard
    from molehunt.report import replay_as_json, replay_table

    check_output(json_file, "the results of a replay (JSON)", _JSON_MARKS)
    numbers = _numbers(accounts)
    calibrated = guard.Calibration.read(calibration)
    queries = guard.QueryLog.read(log)
    shape = tuple(queries.images.shape[1:])
    if shape != calibrated.input_shape:
        raise InvalidRequestError(
            mismatch(f"images in {log}", f"shape {calibrated.input_shape}", f"shape {shape}")
        )
    with progress_of("accounts") as progress:
        found = guard.replay(queries, calibrated.monitors, numbers, progress=progress)
    content = replay_as_json(found, log=str(log), calibration=str(calibration))
    save_json(json_file, content)
    if not show_json(json_file, content):
        output.print(replay_table(found))
    seen = any(item.first is not None for item in found)
    return ExitCode.FOUND if seen else ExitCode.CLEAN


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    fits = all(part.strip().isdecimal() and len(part) < 9 for part in parts)
    if not fits or not all(1 <= int(part) <= _MOST_ACCOUNTS for part in parts):
        allowed = f"numbers from 1 to {_MOST_ACCOUNTS:,} with commas between them"
        raise InvalidRequestError(mismatch("`accounts`", allowed, printable(repr(text), 80)))
    return sorted({int(part) for part in parts})
