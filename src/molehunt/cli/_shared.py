"""Options and progress that commands share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from molehunt.progress import Progress


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

DataRoot = Annotated[
    Path | None,
    typer.Option(help="Where the image sets lie, in torchvision's layout.", envvar="MOLEHUNT_DATA"),
]
Download = Annotated[bool, typer.Option("--download", help="Let torchvision download the images.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[int | None, typer.Option(help="Processes; one a core when not given.")]
MaxFalseAlarms = Annotated[
    float, typer.Option(help="Share of clean models that may be called backdoored.")
]

_SECONDS_BETWEEN_LINES = 10


@contextmanager
def progress_of(title: str) -> Iterator[Progress]:
    """Yield a function of (done, total) that shows progress and the time left.

    A bar where a person looks; elsewhere a line every ten seconds.
    """
    if errors.is_terminal:
        with Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
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
