"""Reading a plan from a file, which may be a stranger's, and changing its settings."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from molehunt.backdoors import Trigger, TriggerFamily
from molehunt.errors import (
    InvalidRequestError,
    UnreadableFileError,
    from_validation,
    printable,
    refused,
)
from molehunt.files import read_bytes
from molehunt.zoo._plan import ModelCounts, Split, ZooPlan

_LARGEST = 2**16  # bytes; plans have a thousand
_MOST_VALUES = 10_000
_DEEPEST = 12
_LARGEST_NUMBER = 2**63
_OPENING = (
    *(yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken),
    *(yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken),
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_TRIGGER = ["backdoors", "trigger"]
_KINDS = ".toml, .yaml, .yml or .json"


def read_plan(path: str | Path) -> ZooPlan:
    """Read a plan from a ``.toml``, ``.yaml``, ``.yml`` or ``.json`` file of at most 64 KiB.

    Raises
    ------
    UnreadableFileError
        If the file is missing, no regular file, larger, or does not parse.
    InvalidRequestError
        If a field is unknown or has an impossible value; the message names it.
    """
    path = Path(path)
    if path.suffix not in (".toml", ".yaml", ".yml", ".json"):
        raise InvalidRequestError(refused("zoo description", f"a {_KINDS} file", str(path)))
    content = read_bytes(path, _LARGEST)
    try:
        text = content.decode("utf-8")
        found = tomllib.loads(text) if path.suffix == ".toml" else _from_yaml(text)
        _check_plain(found)
    except RecursionError as error:
        message = "nested too deeply"
        raise UnreadableFileError(f"{path}: not a readable zoo description: {message}") from error
    except (ValueError, yaml.YAMLError, OverflowError) as error:  # also dates, 5,000 digits
        message = printable(" ".join(str(error).split()))
        raise UnreadableFileError(f"{path}: not a readable zoo description: {message}") from error
    try:
        return ZooPlan.model_validate(found)
    except ValidationError as error:
        raise from_validation(error, str(path)) from error


def change_plan(plan: ZooPlan, settings: Sequence[str]) -> ZooPlan:
    """Return a plan with some settings changed.

    Parameters
    ----------
    plan : ZooPlan
    settings : sequence of str
        ``NAME=VALUE`` each, the name with dots (``backdoors.rate=0.5``). Values are read as
        TOML, and as text where they are not TOML. A new ``backdoors.trigger.kind`` leaves
        nothing of the old trigger.

    Raises
    ------
    InvalidRequestError
        If there is no such setting, or it has an impossible value; the message names what
        is allowed.

    Examples
    --------
    >>> change_plan(ZooPlan(), ["backdoors.rate=0.25", "images.source=mnist"]).backdoors.rate
    0.25
    """
    content = plan.model_dump(mode="json")
    for text in sorted(settings, key=_outer_first):
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(refused("setting", "NAME=VALUE", printable(repr(text), 80)))
        *outer, last = places = name.split(".")
        table = content
        for depth, place in enumerate(places):
            names = _names_in(table, places[:depth])
            if names is not None and place not in names:
                allowed = ", ".join(names) or "none below it"
                got = printable(repr(place), 80)
                raise InvalidRequestError(refused(f"setting {printable(name, 80)}", allowed, got))
            if depth < len(outer):
                new = ModelCounts().model_dump() if places[:depth] == ["models"] else {}
                table = table.setdefault(place, new)
        if outer == _TRIGGER and last == "kind":
            table.clear()
        table[last] = _parse_value(value)
    try:
        _check_plain(content)
        return ZooPlan.model_validate(content)
    except ValidationError as error:
        raise from_validation(error, "setting") from error
    except ValueError as error:
        raise InvalidRequestError(f"setting: {error}") from error


def _outer_first(setting: str) -> tuple[int, bool]:
    name = setting.partition("=")[0]
    return name.count("."), not name.endswith(".kind")


def _names_in(table: Any, places: list[str]) -> list[str] | None:
    """Return the settings of a table of a plan, None where any name may stand."""
    if not isinstance(table, dict):
        return []
    if places[:2] == ["network", "arguments"]:
        return None
    if places == ["models"]:
        return list(Split)
    if places == _TRIGGER:
        kind = str(table.get("kind"))
        known = Trigger.kinds().get(kind) or TriggerFamily.kinds().get(kind)
        return list(known.model_fields) if known else ["kind"]
    return list(table)


def _parse_value(text: str) -> Any:
    """Return what `text` means in TOML, or the text."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # also thousands of digits or of levels
        return text
    return found["value"] if len(found) == 1 else text


def _from_yaml(text: str) -> Any:
    """Parse YAML in time that its length bounds."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        # A few lines of aliases of aliases stand for more than any memory holds.
        if isinstance(token, yaml.AliasToken):
            raise ValueError(refused("YAML", "no aliases", f"*{token.value}"))
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _DEEPEST:
            raise ValueError(refused("YAML", f"at most {_DEEPEST} levels", "more"))
    return yaml.safe_load(text)


def _check_plain(content: Any) -> None:
    """Refuse what JSON could not say, and too much of it."""
    waiting: list[tuple[Any, int]] = [(content, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES or depth > _DEEPEST:
            raise ValueError(refused("values", f"at most {_MOST_VALUES}, {_DEEPEST} deep", "more"))
        if isinstance(value, dict):
            odd = next((key for key in value if not isinstance(key, str)), None)
            if odd is not None:
                raise ValueError(refused("names of fields", "text", printable(repr(odd), 80)))
            waiting += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, int) and abs(value) >= _LARGEST_NUMBER:
            raise ValueError(refused("numbers", "at most 64 bits", "a larger one"))
        elif not isinstance(value, str | int | float | None):
            got = type(value).__name__
            raise ValueError(refused("values", "text, numbers, lists and tables", got))
