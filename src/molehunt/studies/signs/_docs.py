"""The report of BadNets on traffic signs, which several studies write parts of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from molehunt.report import Section, StudyPage, write_study_docs
from molehunt.studies.signs._detector_page import detector_sections
from molehunt.studies.signs._twin_page import twin_sections
from molehunt.study._folders import results_in

Part = Callable[[Mapping[str, Any], Mapping[str, Figure]], list[Section]]
# Keys of results.json with the sections that they become, in the order of the page.
PARTS: dict[str, Part] = {"detector": detector_sections, "gtsrb_twin": twin_sections}


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
        If the results that the folder holds are not of this study.
    OutputError
        If the folder cannot be written.
    """
    together = {**results_in(folder, PARTS), key: results}
    write_study_docs(folder, signs_page(together, drawn), together)
