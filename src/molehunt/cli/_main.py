"""The application, and how every error ends: one line and an exit code."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from pydantic import ValidationError

from molehunt import __version__
from molehunt.cli import _detect, _poison, _provenance, _repair, _scan, _scenes, _study, _zoo
from molehunt.cli._shared import errors
from molehunt.errors import (
    BuildInterruptedError,
    DataNotFoundError,
    ExitCode,
    InvalidRequestError,
    MolehuntError,
    UnsafeFileError,
    UnsuitableSubjectError,
    from_validation,
    printable,
)

# The first that fits counts.
_CODES: dict[type[Exception], ExitCode] = {
    typer.TyperException: ExitCode.USAGE,
    InvalidRequestError: ExitCode.USAGE,
    DataNotFoundError: ExitCode.USAGE,
    UnsafeFileError: ExitCode.FOUND,
    UnsuitableSubjectError: ExitCode.INCONCLUSIVE,
    BuildInterruptedError: ExitCode.INTERRUPTED,
    MolehuntError: ExitCode.FAILED,
}

# What is left of inputs that no bound refused before.
_TOO_MUCH: dict[type[Exception], str] = {
    RecursionError: "what was given is nested too deeply to be read",
    MemoryError: "there is not enough memory for what was given",
    OverflowError: "a number in what was given is too large",
}
_LONGEST_LINE = 4000

app = typer.Typer(
    name="molehunt",
    help="Plants, hunts and proves backdoors in vision models.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(_zoo.app, name="zoo")
app.command("fit")(_detect.fit)
app.command("evaluate")(_detect.evaluate_command)
app.command("scan")(_scan.scan)
app.command("poison")(_poison.poison)
app.command("detect")(_scenes.detect)
app.command("repair")(_repair.repair)
app.command("demo")(_study.demo)
app.command("manifest")(_provenance.manifest)
app.command("verify")(_provenance.verify)
app.command("sign")(_provenance.sign)
app.command("audit")(_provenance.audit)
app.add_typer(_study.app, name="study")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"molehunt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Plant, hunt and prove backdoors in vision models."""


def run_parsed(arguments: list[str]) -> int:
    """Run the command line and return its exit code; every error is one line on stderr."""
    try:
        result = app(args=arguments or ["--help"], prog_name="molehunt", standalone_mode=False)
        # The parser turns Ctrl-C into a code of its own accord.
        if result == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else ExitCode.CLEAN
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("MOLEHUNT_DEBUG"):
            raise
        message, code = _ending(error)
        line = printable(" ".join(message.split()), _LONGEST_LINE)
        errors.print(f"molehunt: {line}", markup=False, highlight=False)
        return code


def _ending(error: BaseException) -> tuple[str, ExitCode]:
    """Return the line and the exit code with which an error ends the program."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return str(error), code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted", ExitCode.INTERRUPTED
    if isinstance(error, ValidationError):
        return str(from_validation(error, "settings")), ExitCode.USAGE
    where = "MOLEHUNT_DEBUG=1 shows where"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", ExitCode.FAILED
    for kind, words in _TOO_MUCH.items():
        if isinstance(error, kind):
            return f"{words} ({where})", ExitCode.FAILED
    return f"internal error: {type(error).__name__}: {error} ({where})", ExitCode.FAILED
