"""Weights in several files, and the index that names them.

``model.safetensors.index.json`` says which file (shard) holds which tensor. The index is what
is judged; its shards are parts of it and no models by themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from molehunt.errors import UnreadableFileError, mismatch, printable, reason_of
from molehunt.files import read_bytes
from molehunt.provenance import Serialization, SerializationState, inspect_serialization
from molehunt.subjects._checkpoints import Node

_INDEX = re.compile(r"\.(safetensors|bin|pt|pth)\.index(\.\w+)?\.json$", re.IGNORECASE)
_PART = re.compile(r"-\d{3,}-of-\d{3,}\.")
_LARGEST_INDEX = 2**24  # bytes; ten thousand tensors take a million
_MOST_SHARDS = 1_000
# The gravest comes first.
_STATES = (
    SerializationState.UNSAFE,
    SerializationState.UNKNOWN,
    SerializationState.UNFAMILIAR,
    SerializationState.NOT_SCANNED,
    SerializationState.CLEAN,
)


@dataclass(frozen=True)
class ShardIndex:
    """What an index says.

    Parameters
    ----------
    path : Path
    places : dict
        The name of the shard of each tensor.
    """

    path: Path
    places: dict[str, str]

    @property
    def shards(self) -> list[str]:
        """Names of the shards in the order of the index."""
        return list(dict.fromkeys(self.places.values()))


def is_index(path: Path) -> bool:
    """Tell by its name whether a file is an index of shards.

    Examples
    --------
    >>> is_index(Path("model.safetensors.index.json")), is_index(Path("config.json"))
    (True, False)
    """
    return _INDEX.search(path.name) is not None


def looks_like_part(path: Path) -> bool:
    """Tell by its name whether a file is one shard of several."""
    return _PART.search(path.name) is not None


def read_index(path: Path) -> ShardIndex:
    """Read an index of shards.

    Raises
    ------
    UnreadableFileError
        If it is no such index, places a tensor twice, or names what is no plain file name.
    """
    try:
        content = json.loads(read_bytes(path, _LARGEST_INDEX), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        message = reason_of(error)
        raise UnreadableFileError(f"{path}: not a readable index of shards: {message}") from error
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        got = "none" if places is None else type(places).__name__
        raise UnreadableFileError(mismatch(f"{path}: weight_map", "a shard for each tensor", got))
    for shard in places.values():
        if not isinstance(shard, str) or not _is_plain_name(shard):
            got = printable(repr(shard), 80)
            raise UnreadableFileError(
                mismatch(f"{path}: shard", "the name of a file in the index's own folder", got)
            )
    index = ShardIndex(path, places)
    if len(index.shards) > _MOST_SHARDS:
        got = str(len(index.shards))
        raise UnreadableFileError(mismatch(f"{path}: shards", f"at most {_MOST_SHARDS}", got))
    return index


def shards_of(index: Path) -> list[Path]:
    """Return the shards that an index names, in its own folder, whether they are there or not.

    Raises
    ------
    UnreadableFileError
        As `read_index`.
    """
    return [index.parent / shard for shard in read_index(index).shards]


def without_shards(paths: Iterable[Path]) -> list[Path]:
    """Return the paths without those that are shards of an index among them.

    An index that cannot be read, or that names a shard which is not among them, hides nothing.
    """
    listed = list(paths)
    hidden: set[Path] = set()
    for path in filter(is_index, listed):
        try:
            shards = set(shards_of(path))
        except UnreadableFileError:  # its own result says so
            continue
        if shards <= set(listed):
            hidden |= shards
    return [path for path in listed if path not in hidden]


def inspect_shards(index: Path) -> Serialization:
    """Return the gravest judgement of an index's shards, which lie beside it.

    Raises
    ------
    UnreadableFileError
        As `read_index`, if a shard cannot be read, or if the shards are of several formats.
    """
    judged = {shard: inspect_serialization(shard) for shard in shards_of(index)}
    gravest = min(judged, key=lambda shard: _STATES.index(judged[shard].state))
    found = judged[gravest]
    if found.state is not SerializationState.CLEAN:
        detail = f"shard {printable(gravest.name, 80)}: {found.detail}"
        return Serialization(found.format, found.state, detail)
    formats = sorted({each.format.value for each in judged.values()})
    if len(formats) > 1:
        raise UnreadableFileError(mismatch(f"{index}: shards", "one format", ", ".join(formats)))
    return Serialization(found.format, found.state, f"{len(judged)} shards, {found.detail}")


def read_shards(path: Path, read: Callable[[Path], Node]) -> tuple[Node, tuple[str, ...]]:
    """Return the tensors of all shards of an index, and what the reader should know.

    Parameters
    ----------
    path : Path
        Of the index; the shards lie beside it.
    read : callable
        Reads the tensors of one shard.

    Raises
    ------
    UnreadableFileError
        If a shard cannot be read, lacks what the index places there, or two shards hold a
        tensor of one name.
    """
    index = read_index(path)
    whole = Node()
    homes: dict[str, str] = {}
    for shard in index.shards:
        for name, tensor in read(path.parent / shard).flat().items():
            if name in homes:
                where = f"{printable(homes[name], 80)} and {printable(shard, 80)}"
                what = f"{path}: tensor {printable(name, 80)}"
                raise UnreadableFileError(mismatch(what, "it in one shard", where))
            homes[name] = shard
            whole.tensors[name] = tensor
    for name, shard in index.places.items():
        if homes.get(name) != shard:
            where = f"in {printable(homes[name], 80)}" if name in homes else "nowhere"
            what = f"{path}: tensor {printable(name, 80)}"
            raise UnreadableFileError(mismatch(what, f"it in {printable(shard, 80)}", where))
    more = [name for name in homes if name not in index.places]
    shown = ", ".join(printable(name, 80) for name in more[:3])
    return whole, (f"{len(more)} tensors that the index does not name: {shown}",) if more else ()


def _is_plain_name(name: str) -> bool:
    return bool(name) and len(name) <= 255 and name == Path(name).name and name.isprintable()


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two entries of one name")
    return found
