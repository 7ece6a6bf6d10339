"""Changing the settings of a plan by their names, as the command line does."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from molehunt.backdoors import Trigger, TriggerFamily
from molehunt.errors import InvalidRequestError, from_validation, mismatch, printable
from molehunt.zoo._plan import ModelCounts, Split, ZooPlan
from molehunt.zoo._plan_file import check_plain

_TRIGGER = ["backdoors", "trigger"]


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
            raise InvalidRequestError(mismatch("setting", "NAME=VALUE", printable(repr(text), 80)))
        *outer, last = places = name.split(".")
        table = content
        for depth, place in enumerate(places):
            names = _names_in(table, places[:depth])
            if names is not None and place not in names:
                allowed = ", ".join(names) or "none below it"
                got = printable(repr(place), 80)
                raise InvalidRequestError(mismatch(f"setting {printable(name, 80)}", allowed, got))
            if depth < len(outer):
                new = ModelCounts().model_dump() if places[:depth] == ["models"] else {}
                table = table.setdefault(place, new)
        if outer == _TRIGGER and last == "kind":
            table.clear()
        table[last] = _parse_value(value)
    try:
        check_plain(content)
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
