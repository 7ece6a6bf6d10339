"""What a file may say of a model: a stranger's contract asks for no code and no endless work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.networks import ModelCard, read_card
from molehunt.subjects._architecture import is_imported

_LARGEST_NUMBER = 1_000_000
_MOST_VALUES = 1_000
_DEEPEST = 6
_LONGEST_TEXT = 200
_MOST_PIXELS = 2**23  # of one image, channels counted: 3 x 1600 x 1600


def check_claims(
    where: str,
    *,
    architecture: str | None,
    arguments: Mapping[str, Any],
    input_shape: tuple[int, int, int] | None,
    class_names: tuple[str, ...] | None,
) -> None:
    """Refuse what a contract that comes from a file may not ask for.

    Raises
    ------
    InvalidRequestError
        If it names code, or numbers, texts and lists without measure.

    Examples
    --------
    >>> check_claims("a.toml", architecture="vgg", arguments={"width": 8},
    ...              input_shape=(1, 28, 28), class_names=None)
    """
    if architecture is not None and is_imported(architecture):
        shown = printable(architecture, 80)
        raise InvalidRequestError(
            f"{where}: architecture {shown} is code, which a file may not name; if you trust it: "
            f"`architecture` {shown}"
        )
    if architecture is not None and len(architecture) > _LONGEST_TEXT:
        raise InvalidRequestError(
            mismatch(f"{where}: architecture", f"at most {_LONGEST_TEXT} characters", "more")
        )
    _check_arguments(f"{where}: arguments", arguments)
    if input_shape is not None and math.prod(input_shape) > _MOST_PIXELS:
        allowed = f"at most {_MOST_PIXELS} values an image (more by `input_shape`)"
        got = "x".join(map(str, input_shape))
        raise InvalidRequestError(mismatch(f"{where}: input_shape", allowed, got))
    longest = max(class_names or ("",), key=len)
    if len(longest) > _LONGEST_TEXT:
        allowed = f"at most {_LONGEST_TEXT} characters each"
        raise InvalidRequestError(mismatch(f"{where}: class_names", allowed, len(longest)))


def read_claimed_card(path: Path) -> ModelCard:
    """Read the card of a model file of ours, as far as a file may claim what it says.

    Raises
    ------
    UnreadableFileError
        If there is no card, or no safetensors file.
    InvalidRequestError
        If it asks for more than a file may.
    """
    card = read_card(path)
    check_claims(
        f"{path}: model card",
        architecture=card.architecture,
        arguments=card.arguments,
        input_shape=card.input_shape,
        class_names=card.class_names,
    )
    return card


def _check_arguments(where: str, arguments: Mapping[str, Any]) -> None:
    left = _MOST_VALUES
    waiting: list[tuple[Any, int]] = [(arguments, 0)]
    while waiting:
        value, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > _DEEPEST:
            allowed = f"at most {_MOST_VALUES} values, nested at most {_DEEPEST} deep"
            raise InvalidRequestError(mismatch(where, allowed, "more"))
        match value:
            case Mapping():
                if len(value) > _MOST_VALUES:
                    raise InvalidRequestError(
                        mismatch(where, f"at most {_MOST_VALUES}", len(value))
                    )
                waiting += [(each, depth + 1) for each in value.values()]
            case list() | tuple():
                if len(value) > _MOST_VALUES:
                    raise InvalidRequestError(
                        mismatch(where, f"at most {_MOST_VALUES}", len(value))
                    )
                waiting += [(each, depth + 1) for each in value]
            case int() | float() if not abs(value) <= _LARGEST_NUMBER:
                allowed = f"numbers between -{_LARGEST_NUMBER} and {_LARGEST_NUMBER}"
                raise InvalidRequestError(mismatch(where, allowed, printable(repr(value), 40)))
            case str() if len(value) > _LONGEST_TEXT:
                allowed = f"texts of at most {_LONGEST_TEXT} characters"
                raise InvalidRequestError(mismatch(where, allowed, len(value)))
