"""Files that commands write: refused before the work where they must not be replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molehunt.cli._terminal import output
from molehunt.files import check_replaceable, make_folder, write_text

JSON_MARKS = (b"{", b'"molehunt"')
PNG_MARKS = (b"\x89PNG",)


def check_output(path: Path | None, what: str, marks: tuple[bytes, ...] = JSON_MARKS) -> None:
    """Refuse a file that cannot be written, or holds something else; - is the terminal.

    Raises
    ------
    OutputError
    """
    if path is not None and str(path) != "-":
        make_folder(path.parent)
        check_replaceable(path, what, marks)


def save_json(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write results to the file of ``--json``, where it is one.

    Raises
    ------
    OutputError
    """
    if path is not None and str(path) != "-":
        write_text(path, _as_text(content))


def show_json(path: Path | None, content: Mapping[str, Any]) -> bool:
    """Print results where ``--json -`` asks for them in place of a table; tell whether it did."""
    if str(path) != "-":
        return False
    output.out(_as_text(content), end="", highlight=False)
    return True


def _as_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
