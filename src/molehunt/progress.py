"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# Called with what is done and its total, in whatever is counted: steps, images, models.
Progress = Callable[[int, int], None]
# For work of several parts: from the title of a part to the progress of that part.
ProgressOf = Callable[[str], AbstractContextManager[Progress]]


def silent(done: int, total: int) -> None:
    """Show nothing: the default."""


@contextmanager
def silent_parts(title: str) -> Iterator[Progress]:
    """Show nothing of any part: the default."""
    yield silent
