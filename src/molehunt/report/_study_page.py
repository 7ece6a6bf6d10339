"""The report of a study: one content, as a self-contained page and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from molehunt import __version__
from molehunt.files import make_folder, write_text
from molehunt.report import figures
from molehunt.report._html import template


@dataclass(frozen=True)
class StudyTable:
    """A table of texts; every column but the first holds numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class StudyFigure:
    """A figure; `name` is that of its PNG file, `caption` stands for it where it is not seen.

    Without a `figure` the file lies beside the Markdown already.
    """

    name: str
    caption: str
    figure: Figure | None


@dataclass(frozen=True)
class Section:
    """A part of a report: paragraphs of plain text, then tables, then figures."""

    title: str
    text: Sequence[str]
    tables: Sequence[StudyTable] = field(default=())
    figures: Sequence[StudyFigure] = field(default=())


@dataclass(frozen=True)
class StudyPage:
    """A whole report: what was found first, how it was measured last."""

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    footer: str


def write_study_page(path: Path, page: StudyPage) -> None:
    """Write the report as one HTML file that asks nothing of the network.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    drawn = {name: Markup(figures.as_svg(figure)) for name, figure in _drawn(page)}
    text = template("study.html").render(version=__version__, page=page, drawn=drawn)
    write_text(path, text)


def write_study_docs(folder: Path, page: StudyPage, results: Mapping[str, Any]) -> None:
    """Write ``README.md``, its figures as PNG and ``results.json`` into `folder`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    make_folder(folder)
    for name, figure in _drawn(page):
        figures.save_figure(figure, folder / f"{name}.png")
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    write_text(folder / "README.md", template("study.md").render(page=page) + "\n")


def _drawn(page: StudyPage) -> Iterator[tuple[str, Figure]]:
    for section in page.sections:
        for item in section.figures:
            if item.figure is not None:
                yield item.name, item.figure
