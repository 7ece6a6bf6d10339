"""The entries of a COCO file, each checked for itself, and what was wrong with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat, ValidationError
from pydantic_core import from_json

from molehunt.errors import UnreadableFileError, from_validation, mismatch

_SHOWN = 3

Id = Annotated[int, Field(strict=True)]


def _short(value: object) -> str | None:
    return str(value)[:200] if isinstance(value, str | int) else None


# Other sets use such names for things of their own.
_Text = Annotated[str | None, BeforeValidator(_short)]


class ImageEntry(BaseModel):
    """One of ``images``."""

    id: Id
    file_name: str = Field(min_length=1, max_length=1000)
    width: int = Field(ge=1, le=65535)
    height: int = Field(ge=1, le=65535)
    source: _Text = None
    scene: _Text = None


class AnnotationEntry(BaseModel):
    """One of ``annotations``; the last two are Molehunt's own."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: list[FiniteFloat] = Field(min_length=4, max_length=4)
    iscrowd: bool = False
    true_category_id: Id | None = None
    triggered: bool = False


class CategoryEntry(BaseModel):
    """One of ``categories``."""

    id: Id
    name: str = Field(min_length=1, max_length=200)


class Problems:
    """What is wrong with a set, by kind: refused together, or counted and left out."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._messages: list[str] = []

    def add(self, kind: str, message: str) -> None:
        """Count a problem; `message` is one line that names the entry."""
        self.counts[kind] += 1
        if len(self._messages) < _SHOWN:
            self._messages.append(message)

    def refuse(self, path: Path) -> None:
        """Refuse the set if there are problems.

        Raises
        ------
        UnreadableFileError
            With their number, the first ones and the way around them.
        """
        total = self.counts.total()
        if total:
            noun = "problem" if total == 1 else "problems"
            more = f"; {total - _SHOWN} more" if total > _SHOWN else ""
            raise UnreadableFileError(
                f"{path}: {total} {noun}: {'; '.join(self._messages)}{more} "
                "(correct them, or leave such images and boxes out with `skip_bad`)"
            )


Entry = TypeVar("Entry", ImageEntry, AnnotationEntry, CategoryEntry)


def read_lists(path: Path) -> dict[str, list[Any]]:
    """Read a COCO file's three lists, their entries still unchecked.

    Raises
    ------
    UnreadableFileError
        If it is not JSON, or one of the lists is missing or empty.
    """
    try:
        content = from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"{path}: not readable JSON: {error}") from error
    lists = {}
    for name in ("images", "annotations", "categories"):
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or (not entries and name != "annotations"):
            got = "an empty one" if entries == [] else type(entries).__name__
            raise UnreadableFileError(mismatch(f"{path}: {name}", "a list of entries", got))
        lists[name] = entries
    return lists


def check_entries(
    entries: list[Any], kind: type[Entry], name: str, problems: Problems
) -> dict[int, Entry]:
    """Return the well-formed entries of a list by id, in their order.

    Of entries that share an id none is returned: what refers to that id could mean any.
    """
    found: dict[int, list[Entry]] = {}
    for place, content in enumerate(entries):
        try:
            entry = kind.model_validate(content)
        except ValidationError as error:
            problems.add(f"malformed {name}", str(from_validation(error, f"{name}[{place}]")))
            continue
        found.setdefault(entry.id, []).append(entry)
    for key, same in found.items():
        if len(same) > 1:
            problems.add(f"shared ids of {name}", mismatch(f"{name} with id {key}", 1, len(same)))
    return {key: same[0] for key, same in found.items() if len(same) == 1}
