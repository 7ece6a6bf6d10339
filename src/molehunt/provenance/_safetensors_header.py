"""Judge a safetensors file by its header.

The library's own reader checks most: offsets in range, without holes or overlaps, the
data exactly as long as the header says, sizes that fit shape and type. It lets two
entries of one name pass and keeps the last; other readers keep the first, so a file that
names a tensor twice is not called clean.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from molehunt.provenance._judgement import Judgement, UnreadContentError, clean, judge_unknown

_LARGEST_HEADER = 8 * 2**20  # bytes; twenty thousand tensors take about three million
_LONGEST_NAME = 512  # characters
_MOST_ELEMENTS = 2**48
# What torch loads; safetensors knows more types, and torch fails on those.
_DTYPES = {
    *("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F64"),
    *("C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
}


def starts_like_safetensors(head: bytes) -> bool:
    """Whether the first 9 bytes are a header length and the start of a JSON object."""
    return len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def judge_safetensors(path: Path) -> Judgement:
    """Read the header; tensors are not read."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LARGEST_HEADER:
            return judge_unknown(f"a header of {length} bytes, more than {_LARGEST_HEADER}")
        header = stream.read(length)
    try:
        _check(json.loads(header, object_pairs_hook=_without_duplicates))
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError, ValueError, RecursionError, UnreadContentError) as error:
        message = " ".join(str(error).split())
        return judge_unknown(f"a header that does not fit its file: {message:.150}")
    if zipfile.is_zipfile(path):
        return judge_unknown("a zip archive as well, so that readers could disagree on it")
    return clean("tensors and text only")


def _check(entries: object) -> None:
    """Refuse names, types and shapes that no tensor of torch has, before one is made."""
    if not isinstance(entries, dict):
        raise UnreadContentError("no table of tensors")
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        if len(name) > _LONGEST_NAME:
            raise UnreadContentError(f"a name of {len(name)} characters")
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES:
            raise UnreadContentError("a type of numbers that torch does not load")
        shape = entry.get("shape")
        sides = shape if isinstance(shape, list) else [None]
        if not all(isinstance(side, int) and 0 <= side <= _MOST_ELEMENTS for side in sides):
            raise UnreadContentError("a shape that no tensor has")


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadContentError("two entries of one name")
    return found
