"""A page of text and figures, as studies write it."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from molehunt import __version__
from molehunt.files import write_text
from molehunt.report._html import template


def write_article(path: Path, title: str, body: str) -> None:
    """Write one HTML file that asks nothing of the network.

    Parameters
    ----------
    path : Path
    title : str
    body : str
        HTML; what is a stranger's in it is escaped already.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    page = template("article.html")
    write_text(path, page.render(version=__version__, title=title, body=Markup(body)))
