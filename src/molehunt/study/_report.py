"""The report of a study: one template of Markdown, as ``README.md`` and as an HTML page."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.figure import Figure

from molehunt.files import make_folder, write_text, written_whole
from molehunt.plotting import as_svg, save_figure
from molehunt.report import write_article
from molehunt.study._words import FILTERS, GLOBALS

Results = Mapping[str, Any]
Figures = Mapping[str, Figure]
Films = Mapping[str, bytes]  # GIFs
_NONE: Films = {}


@dataclass(frozen=True)
class Table:
    """A table of texts; every column but the first holds numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @classmethod
    def first_of(cls, text: str) -> Table:
        """Return the first table of a text in Markdown; an empty one where there is none."""
        lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
        split = re.compile(r"(?<!\\)\|")
        cells = [
            [cell.strip().replace("\\|", "|") for cell in split.split(line)[1:-1]]
            for line in (lines[0].splitlines() if lines else ["| |"])
        ]
        return cls(cells[0], cells[2:])


@dataclass(frozen=True)
class Report:
    """What ``report.md.j2`` and ``paper.toml`` of a package say of results.

    The template has ``results`` (what ``results.json`` holds), ``paper`` (the paper's numbers),
    ``head(...)`` and ``row(...)`` for tables, ``figure(name, caption)``, and `words`.

    Parameters
    ----------
    package : str
    figures : callable
        From the results to the figures that follow from them.
    words : mapping
        What the template needs beside that: names, functions. They come before those of
        `molehunt.study` that have the same name.
    parts : tuple of str
        The keys of a report that several studies share, in the order of the page.
    """

    package: str
    figures: Callable[[Results], Figures] = lambda _results: {}
    words: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    @cached_property
    def paper(self) -> dict[str, Any]:
        """The paper's numbers; none where there is no ``paper.toml``."""
        path = files(self.package) / "paper.toml"
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def as_markdown(self, results: Results) -> str:
        """Return the report on the results."""
        environment = Environment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
        )
        environment.filters.update(FILTERS)
        source = (files(self.package) / "report.md.j2").read_text(encoding="utf-8")
        text = environment.from_string(source).render(
            results=results, paper=self.paper, figure=_figure, **{**GLOBALS, **self.words}
        )
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

    def write_page(
        self, path: Path, results: Results, pictures: Figures, films: Films = _NONE
    ) -> str:
        """Write the report as one HTML file that asks nothing of the network.

        Returns
        -------
        str
            The same in Markdown.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        text = self.as_markdown(results)
        drawn = {**self.figures(results), **pictures}
        title = text.partition("\n")[0].lstrip("# ")
        write_article(path, title, _as_html(text, drawn, films))
        return text

    def write_docs(
        self, folder: Path, results: Results, pictures: Figures, films: Films = _NONE
    ) -> None:
        """Write ``README.md``, its figures as PNG, its films and ``results.json`` into `folder`.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        make_folder(folder)
        for name, figure in {**self.figures(results), **pictures}.items():
            save_figure(figure, folder / f"{name}.png")
        for name, film in films.items():
            with written_whole(folder / f"{name}.gif") as temporary:
                temporary.write_bytes(film)
        write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
        write_text(folder / "README.md", self.as_markdown(results))

    def check_beside(self, others: Results, part: str, plan: Any, scale: str) -> None:
        """Refuse a run that could not be reported beside `others`, before its work."""

    def put_beside(self, others: Results, part: str, found: Results, plan: Any) -> dict[str, Any]:
        """Return the results of all parts once those of one are new."""
        together = {**others, part: found}
        return {name: together[name] for name in self.parts if name in together}


def _figure(name: str, caption: str, suffix: str = "png") -> str:
    return f"![{caption}]({name}.{suffix})\n\n{caption}"


def _as_html(text: str, drawn: Figures, films: Films) -> str:
    """Return Markdown as HTML, with figures and films in it and no tag that it had not."""
    shown = {f"{name}.png": as_svg(figure) for name, figure in drawn.items()}
    for name, film in films.items():
        content = base64.b64encode(film).decode()
        shown[f"{name}.gif"] = f'<img alt="" src="data:image/gif;base64,{content}">'

    def picture(tokens: Sequence[Token], place: int, *_: Any) -> str:
        return shown.get(str(tokens[place].attrGet("src")), "")

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    rules = parser.renderer.rules  # type: ignore[attr-defined]
    rules["image"] = picture
    rules["table_open"] = lambda *_: '<div class="scroll"><table>\n'
    rules["table_close"] = lambda *_: "</table></div>\n"
    return str(parser.render(text))
