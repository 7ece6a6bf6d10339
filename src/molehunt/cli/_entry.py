"""Where a program starts and ends: nothing but a verdict ends it with 0, 1 or 3."""

from __future__ import annotations

import io
import os
import sys

# The shells' code for Ctrl-C, and ours for "could not be judged".
_INTERRUPTED, _FAILED = 130, 2


def main() -> None:
    """Run the command line and exit.

    Whatever happens before, in and after it, imports included, is one line and a code:
    Python's own code for a crash is 1, which means "found" here.
    """
    code = _FAILED
    _show_everything()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = _INTERRUPTED
        _say("interrupted")
    except BrokenPipeError:
        pass
    except BaseException as error:
        if os.environ.get("MOLEHUNT_DEBUG"):
            raise
        _say(f"cannot start: {type(error).__name__}: {' '.join(str(error).split())}")
    _end(code)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; every error is one line on stderr."""
    from molehunt.cli._main import run_parsed

    return run_parsed(arguments)


def _show_everything() -> None:
    """Escape what the terminal's encoding lacks; names of files need not be text at all."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(message: str) -> None:
    try:
        sys.stderr.write(f"molehunt: {message}\n")
    except (OSError, ValueError, AttributeError):  # stderr may be closed
        return


def _end(code: int) -> None:
    """Flush what is left, and end with `code` also where nobody reads it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # a closed pipe: the work is done
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if stream is sys.stdout else 2)
    sys.exit(code)
