"""The application, and how every error ends: one line and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from molehunt import __version__
from molehunt.cli import (
    _assess,
    _attack,
    _attack_invert,
    _attack_steal,
    _backdoor,
    _backdoor_plant,
    _backdoor_train,
    _certify,
    _compare,
    _filter,
    _fit,
    _guard,
    _list,
    _provenance,
    _repair,
    _scan,
    _scenes,
    _study,
    _testing,
    _zoo,
)
from molehunt.cli._commands import Command, Commands
from molehunt.cli._terminal import errors, show_only
from molehunt.cli._words import with_flags
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
    help="Say what a model that you did not train could do to you.",
    cls=Commands,
    pretty_exceptions_enable=False,
)
app.command("scan", cls=Command)(_scan.scan)
app.command("assess", cls=Command)(_assess.assess)
app.command("repair", cls=Command)(_repair.repair)
app.command("filter", cls=Command)(_filter.filter_images)
app.command("certify", cls=Command)(_certify.certify)
app.command("test", cls=Command)(_testing.test)
app.command("compare", cls=Command)(_compare.compare)
app.command("fit", cls=Command)(_fit.fit)
app.command("evaluate", cls=Command)(_fit.evaluate_command)
app.command("demo", cls=Command)(_study.demo)
app.command("list", cls=Command)(_list.list_names)
_attack.app.command("steal", cls=Command)(_attack_steal.steal)
_attack.app.command("invert", cls=Command)(_attack_invert.invert)
app.add_typer(_attack.app, name="attack")
app.add_typer(_guard.app, name="guard")
app.add_typer(_zoo.app, name="zoo")
_backdoor.app.command("train", cls=Command)(_backdoor_train.train_backdoor)
_backdoor.app.command("plant", cls=Command)(_backdoor_plant.plant_backdoor)
app.add_typer(_backdoor.app, name="backdoor")
app.add_typer(_provenance.app, name="provenance")
app.add_typer(_scenes.app, name="scenes")
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
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show results and errors, and nothing else.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what was reused and what was left out.")
    ] = False,
) -> None:
    """Say what a model that you did not train could do to you."""
    show_only(quiet=quiet, verbose=verbose)


def run_parsed(arguments: list[str]) -> int:
    """Run the command line and return its exit code; every error is one line on stderr."""
    try:
        result = app(args=arguments or ["--help"], prog_name="molehunt", standalone_mode=False)
        # The parser turns Ctrl-C into a code of its own accord.
        if result == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else ExitCode.CLEAN
    except SystemExit as end:  # shell completion has answered
        return ExitCode.FAILED if end.code else ExitCode.CLEAN
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("MOLEHUNT_DEBUG"):
            raise
        message, code = _ending(error)
        line = with_flags(" ".join(message.split()), _all_commands())
        line = printable(line, _LONGEST_LINE)
        errors.print(f"molehunt: {line}", markup=False, highlight=False)
        return code


def _all_commands() -> Iterator[Any]:
    """Yield every command with its options."""
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        yield command
        waiting += getattr(command, "commands", {}).values()


def _ending(error: BaseException) -> tuple[str, ExitCode]:
    """Return the line and the exit code with which an error ends the program."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return str(error).removeprefix("Value error, "), code
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
    what = "cannot start" if isinstance(error, ImportError) else "internal error"
    return f"{what}: {type(error).__name__}: {error} ({where})", ExitCode.FAILED
