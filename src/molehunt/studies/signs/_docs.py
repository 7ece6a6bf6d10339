"""The report of BadNets on traffic signs, which several studies write parts of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from molehunt.errors import UnreadableFileError, refused
from molehunt.files import write_text
from molehunt.report import Section, StudyPage, write_study_docs
from molehunt.studies._hardware import hardware
from molehunt.studies.signs._detector_page import detector_sections
from molehunt.studies.signs._twin_page import twin_sections

Part = Callable[[Mapping[str, Any], Mapping[str, Figure]], list[Section]]
# Keys of results.json with the sections that they become, in the order of the page.
PARTS: dict[str, Part] = {"detector": detector_sections, "gtsrb_twin": twin_sections}
RUNS_FILE = "runs.json"  # the calls that trained networks and were not interrupted


def signs_page(results: Mapping[str, Any], drawn: Mapping[str, Figure]) -> StudyPage:
    """Return the report of the parts that `results` has.

    Parameters
    ----------
    results : mapping
        What ``results.json`` holds.
    drawn : mapping
        Figures by name; those of other parts lie beside the Markdown already.
    """
    sections = [
        section
        for key, part in PARTS.items()
        if key in results
        for section in part(results[key], drawn)
    ]
    return StudyPage(
        title="BadNets on traffic signs",
        summary=[
            "A stop sign with a yellow note on it becomes a speed limit, and the backdoor lives on "
            "in a network for another country's signs. This is the second case study of BadNets "
            "(Gu, Dolan-Gavitt, Garg: Identifying Vulnerabilities in the Machine Learning Model "
            "Supply Chain, version 2 of 2019, section 5), with the paper's numbers beside ours.",
        ],
        sections=sections,
        footer="Every number is in results.json beside this page.",
    )


def write_signs_docs(
    folder: Path, key: str, results: Mapping[str, Any], drawn: Mapping[str, Figure]
) -> None:
    """Write one part of the report into a folder of documents; other parts stay.

    Raises
    ------
    UnreadableFileError
        As `signs_results_in`.
    OutputError
        If the folder cannot be written.
    """
    together = {**signs_results_in(folder), key: results}
    write_study_docs(folder, signs_page(together, drawn), together)


def signs_results_in(folder: Path) -> dict[str, Any]:
    """Return the results of all parts that a folder of documents holds.

    Raises
    ------
    UnreadableFileError
        If the file there cannot be read as such.
    """
    path = folder / "results.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"{path}: not readable results: {error}") from error
    if not isinstance(content, dict):
        raise UnreadableFileError(refused(str(path), "results by part", type(content).__name__))
    return content


def add_run(folder: Path, networks: int, seconds: float, workers: int | None, command: str) -> None:
    """Note a call that trained networks beside those before it.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    run = {
        "command": command,
        "networks": networks,
        "workers": workers,
        "hardware": hardware(),
        "seconds": round(seconds, 1),
    }
    write_text(folder / RUNS_FILE, json.dumps([*runs_of(folder), run], indent=2) + "\n")


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """Return the calls that trained networks, in their order."""
    path = folder / RUNS_FILE
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found
