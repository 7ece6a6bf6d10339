"""What every run of a study needs and gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molehunt.files import make_folder
from molehunt.report import StudyTable

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class StudyResult:
    """What a study made: its figures, their summary, and the report.

    `trained` is how many networks this call trained, the rest being there already; None
    where a study builds zoos.
    """

    figures: dict[str, Any]
    summary: StudyTable
    report: Path
    trained: int | None = None


class Counter:
    """A callback for records that passes on (done, total), and counts its calls as `made`."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.made = 0
        self._report = report

    def __call__(self, _record: Any, done: int, total: int) -> None:
        """Count a record."""
        self.made += 1
        self._report(done, total)


def make_folders(folder: Path, docs: Path | None) -> None:
    """Make the folders of a study before its work, not after it."""
    for place in (folder, docs):
        if place is not None:
            make_folder(place)
