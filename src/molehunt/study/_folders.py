"""What the folders of a study hold beside its models: results, and the calls that made them."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from molehunt.errors import UnreadableFileError, mismatch
from molehunt.files import write_text
from molehunt.study._hardware import hardware

RUNS_FILE = "runs.json"  # the calls that made models and were not interrupted


def results_in(docs: Path, parts: Collection[str] = ()) -> dict[str, Any]:
    """Return the results that a folder of documents holds, none where it has no such file.

    Parameters
    ----------
    docs : Path
    parts : collection of str
        The keys that a report of several studies may have; any when empty.

    Raises
    ------
    UnreadableFileError
        If the file there is not one of this report.
    """
    path = docs / "results.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"{path}: not readable results: {error}") from error
    found = set(content) if isinstance(content, dict) else {type(content).__name__}
    if not isinstance(content, dict) or (parts and not found <= set(parts)):
        wrong = f"those of {', '.join(sorted(found))}"
        raise UnreadableFileError(mismatch(str(path), f"results of {', '.join(parts)}", wrong))
    return content


def add_run(folder: Path, seconds: float, workers: int | None, **about: Any) -> None:
    """Note a call that made something beside those before it.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    run = {**about, "workers": workers, "hardware": hardware(), "seconds": round(seconds, 1)}
    write_text(folder / RUNS_FILE, json.dumps([*runs_of(folder), run], indent=2) + "\n")


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """Return the calls that made something, in their order."""
    path = folder / RUNS_FILE
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found
