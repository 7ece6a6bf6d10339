"""Reading a plan from a file, which may be a stranger's."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from molehunt.errors import (
    InvalidRequestError,
    UnreadableFileError,
    from_validation,
    mismatch,
    printable,
)
from molehunt.files import read_bytes
from molehunt.zoo._plan import ZooPlan

_LARGEST = 2**16  # bytes; plans have a thousand
_MOST_VALUES = 10_000
_DEEPEST = 12
_LARGEST_NUMBER = 2**63
_OPENING = (
    *(yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken),
    *(yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken),
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
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
        raise InvalidRequestError(mismatch("zoo description", f"a {_KINDS} file", str(path)))
    content = read_bytes(path, _LARGEST)
    try:
        text = content.decode("utf-8")
        found = tomllib.loads(text) if path.suffix == ".toml" else _from_yaml(text)
        check_plain(found)
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


def _from_yaml(text: str) -> Any:
    """Parse YAML in time that its length bounds."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        # A few lines of aliases of aliases stand for more than any memory holds.
        if isinstance(token, yaml.AliasToken):
            raise ValueError(mismatch("YAML", "no aliases", f"*{token.value}"))
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _DEEPEST:
            raise ValueError(mismatch("YAML", f"at most {_DEEPEST} levels", "more"))
    return yaml.safe_load(text)


def check_plain(content: Any) -> None:
    """Refuse what JSON could not say, and too much of it."""
    waiting: list[tuple[Any, int]] = [(content, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES or depth > _DEEPEST:
            raise ValueError(mismatch("values", f"at most {_MOST_VALUES}, {_DEEPEST} deep", "more"))
        if isinstance(value, dict):
            odd = next((key for key in value if not isinstance(key, str)), None)
            if odd is not None:
                raise ValueError(mismatch("names of fields", "text", printable(repr(odd), 80)))
            waiting += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, int) and abs(value) >= _LARGEST_NUMBER:
            raise ValueError(mismatch("numbers", "at most 64 bits", "a larger one"))
        elif not isinstance(value, str | int | float | None):
            got = type(value).__name__
            raise ValueError(mismatch("values", "text, numbers, lists and tables", got))
