"""What a terminal shows: results, notes, errors, and how far work is."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

from molehunt.progress import Progress, silent


class _Terminal(Console):
    """A console that goes on where nobody reads it any more, so that the exit code stands."""

    def on_broken_pipe(self) -> None:
        """Write no more; the default ends the program with 1, which means "found" here."""
        self.quiet = True
        with open(os.devnull, "w") as nothing:  # noqa: PTH123  a device, not a path
            os.dup2(nothing.fileno(), sys.stderr.fileno() if self.stderr else sys.stdout.fileno())


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


# Names of files and classes are strangers': nothing in them is markup.
output = _Terminal(soft_wrap=not _is_terminal(sys.stdout), markup=False)
errors = _Terminal(stderr=True, soft_wrap=True, markup=False)

_SECONDS_BETWEEN_LINES = 10
_quiet = False


def show_only(*, quiet: bool, verbose: bool) -> None:
    """Choose what is shown beside results and errors: nothing, notes, or the log as well."""
    global _quiet  # noqa: PLW0603  of the process, as its streams are
    _quiet = quiet
    log = logging.getLogger("molehunt")
    log.handlers = []
    log.setLevel(logging.INFO if verbose else logging.NOTSET)
    if verbose:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        log.addHandler(handler)


def note(text: str) -> None:
    """Say where something was written, or what is done now."""
    if not _quiet:
        output.print(text, highlight=False)


@contextmanager
def progress_of(title: str) -> Iterator[Progress]:
    """Yield a function of (done, total) that shows progress and the time left.

    A bar where a person looks; elsewhere a line every ten seconds; nothing with --quiet.
    """
    if _quiet:
        yield silent
        return
    if errors.is_terminal:
        from rich import progress as parts

        with parts.Progress(
            parts.TextColumn("{task.description}"),
            parts.BarColumn(),
            parts.MofNCompleteColumn(),
            parts.TimeElapsedColumn(),
            parts.TextColumn("left:"),
            parts.TimeRemainingColumn(),
            console=errors,
        ) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    started = last = time.monotonic()
    first: int | None = None

    def line(done: int, total: int) -> None:
        nonlocal last, first
        now = time.monotonic()
        # What an earlier run finished took no time in this one.
        first = done - 1 if first is None else first
        if now - last >= _SECONDS_BETWEEN_LINES or done == total:
            last = now
            left = (now - started) / max(done - first, 1) * (total - done)
            errors.print(
                f"{title}: {done} of {total}, {now - started:.0f} s, {left:.0f} s left",
                highlight=False,
            )

    yield line
