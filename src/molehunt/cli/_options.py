"""Options that commands share, and how texts on the command line are read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.errors import InvalidRequestError, mismatch, printable

if TYPE_CHECKING:
    from molehunt.images import ImageSet
    from molehunt.subjects import Opening

DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of the image sets, in torchvision's layout.", envvar="MOLEHUNT_DATA"),
]
Download = Annotated[bool, typer.Option("--download", help="Let torchvision download the images.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[
    int | None, typer.Option(help="Number of processes; one for each core when not given.")
]
MaxFalseAlarms = Annotated[
    float, typer.Option(help="Share of clean models that may be called backdoored.")
]
DetectorFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--detector", "-d", metavar="FILE", help="A fitted detector's file; may be repeated."
    ),
]
ContractFile = Annotated[
    Path | None, typer.Option(help="A TOML file with the model's input contract.")
]
WeightsName = Annotated[str | None, typer.Option(help="The set of weights, of several in a file.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the results as JSON; - for the terminal.")
]
Seed = Annotated[int, typer.Option(help="Of the choice of images and all other draws.")]
Clean = typer.Option(help="Labelled clean images: {images}.")
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the detector; may be repeated."),
]

_UNITS = {"GiB": 2**30, "MiB": 2**20, "GB": 10**9, "MB": 10**6}


def parse_numbers(flag: str, text: str, kind: type[int] | type[float] = float) -> Sequence[Any]:
    """Return the numbers of a flag such as ``3x224x224`` or ``0.1,0.2,0.3``.

    Raises
    ------
    InvalidRequestError
    """
    separator = "x" if kind is int else ","
    try:
        return tuple(kind(part) for part in text.split(separator))
    except ValueError as error:
        allowed = f"{'whole ' if kind is int else ''}numbers with {separator!r} between them"
        raise InvalidRequestError(mismatch(flag, allowed, repr(text))) from error


def parse_fraction(flag: str, text: str) -> float:
    """Return the number of a flag such as ``0.03`` or ``8/255``.

    Raises
    ------
    InvalidRequestError

    Examples
    --------
    >>> parse_fraction("--epsilon", "51/255")
    0.2
    """
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError) as error:
        allowed = "a number such as 0.03 or 8/255"
        raise InvalidRequestError(mismatch(flag, allowed, repr(text))) from error


def parse_bytes(flag: str, size: str) -> int:
    """Return the bytes of a size such as 4GiB.

    Raises
    ------
    InvalidRequestError
    """
    match = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})", size)
    if match is None:
        raise InvalidRequestError(mismatch(flag, f"a number with {', '.join(_UNITS)}", repr(size)))
    return int(float(match[1]) * _UNITS[match[2]])


def parse_settings(settings: Sequence[str] | None, flag: str = "--set") -> dict[str, Any]:
    """Return NAME=VALUE texts as settings; values are read as JSON, else as text.

    Raises
    ------
    InvalidRequestError
    """
    parsed: dict[str, Any] = {}
    for text in settings or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(mismatch(flag, "NAME=VALUE", repr(text)))
        try:
            parsed[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name] = value
        except (ValueError, RecursionError) as error:  # thousands of digits or of levels
            got = printable(repr(value), 80)
            raise InvalidRequestError(mismatch(f"{flag} {name}", "a plain value", got)) from error
    return parsed


def read_opening(contract: Path | None, weights: str | None = None) -> Opening:
    """Return how a model shall be opened, by the options of a command.

    Raises
    ------
    MolehuntError
        If the contract's file cannot be read.
    """
    from molehunt.subjects import Opening, StatedContract, read_contract

    stated = StatedContract() if contract is None else read_contract(contract)
    return Opening(contract=stated, weights=weights)


def load_members(source: str, data_root: Path | None) -> ImageSet:
    """Return the training images of a set; a folder of class folders is taken whole.

    Raises
    ------
    MolehuntError
        As `molehunt.images.load_images`.
    """
    from molehunt.images import find_data, load_images, load_test_images

    kind, _, path = source.partition(":")
    if kind == "folder" and not (find_data(path, data_root) / "train").is_dir():
        return load_test_images(source, data_root=data_root)
    return load_images(source, data_root=data_root).train
