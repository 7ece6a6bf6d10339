"""Found images as a folder with labels, which is a regression test."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from molehunt.errors import InvalidRequestError, OutputError, mismatch, printable
from molehunt.files import make_folder, write_text
from molehunt.images import ImageSet, write_png

TABLE = "cases.csv"
_SAFE = re.compile(r"[\w][\w .,()+-]*")  # names of folders on every system


def write_cases(
    folder: Path, cases: ImageSet, columns: Mapping[str, Sequence[object]] | None = None
) -> None:
    """Write images as PNG, ``CLASS/00000.png``, and ``cases.csv`` with a line for each.

    ``folder:PATH`` reads them back with their labels, so what was found is a test of the next
    model: ``molehunt test MODEL --clean folder:PATH``. A class is its name where all names can
    be folders, else its number.

    Parameters
    ----------
    folder : Path
        New or empty.
    cases : ImageSet
        With the labels that are right.
    columns : mapping, optional
        More to say of each image, by the column's name.

    Raises
    ------
    InvalidRequestError
        If a column has another length.
    OutputError
        If the folder holds something, cannot be written, or the images have neither one
        channel nor three.

    Examples
    --------
    >>> import torch
    >>> from molehunt.images import load_images, load_test_images
    >>> digits = load_images("digits").test.take(torch.arange(20))
    >>> write_cases(Path("cases"), digits, {"index": range(20)})
    >>> again = load_test_images("folder:cases").shaped(digits.shape)
    >>> len(again), again.shape
    (20, (1, 8, 8))
    """
    columns = columns or {}
    for name, values in columns.items():
        if len(values) != len(cases):
            raise InvalidRequestError(mismatch(f"column {name}", len(cases), len(values)))
    check_empty(folder)
    folders = _folder_names(cases.class_names)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "label", *columns])
    for number, label in enumerate(cases.labels.tolist()):
        file = f"{folders[label]}/{number:05d}.png"
        write_png(folder / file, cases.images[number])
        # A spreadsheet takes a name that begins with = for a formula.
        shown = printable(cases.class_names[label]).lstrip("=+-@")
        rows.writerow([file, shown, *(values[number] for values in columns.values())])
    write_text(folder / TABLE, text.getvalue())


def check_empty(folder: Path) -> None:
    """Make a folder for cases, and refuse one that holds something.

    Old images beside new ones would be read as one set.

    Raises
    ------
    OutputError
    """
    make_folder(folder)
    if any(folder.iterdir()):
        raise OutputError(mismatch(f"{folder}", "a new or empty folder", "one that holds files"))


def holds_cases(source: str) -> bool:
    """Tell whether an image source is a folder that `write_cases` wrote.

    What was chosen because a model fails on it says nothing of the model's input contract.

    Examples
    --------
    >>> holds_cases("mnist"), holds_cases("folder:nowhere")
    (False, False)
    """
    name, _, path = source.partition(":")
    try:
        return name == "folder" and (Path(path).expanduser() / TABLE).is_file()
    except (OSError, ValueError, RuntimeError):  # no path at all, or no such home
        return False


def _folder_names(class_names: Sequence[str]) -> Sequence[str]:
    distinct = len({name.casefold() for name in class_names}) == len(class_names)
    if distinct and all(_SAFE.fullmatch(name) and len(name) <= 100 for name in class_names):
        return class_names
    return [str(number) for number in range(len(class_names))]
