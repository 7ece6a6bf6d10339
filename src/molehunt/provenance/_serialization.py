"""Unsafe serialization: would loading this file run code? Told without loading it.

Files are judged by their content, never by their name. picklescan lists the globals
that a pickle names; they are judged against a list of those that tensors need, and
everything else is denied.
"""

from __future__ import annotations

import io
import logging
import re
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from picklescan.scanner import scan_pickle_bytes

from molehunt.errors import UnreadableFileError

# What torch.save of a state_dict names, and nothing that calls anything else.
ALLOWED_GLOBALS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}
_STORAGE = re.compile(r"^(torch|torch\.storage) (\w+Storage)$")
_PICKLE_STARTS = tuple(bytes([code]) for code in b"\x80(cdlF]}I")
_BIGGEST_PICKLE = 64 * 2**20  # bytes; tensors lie outside the pickle


class SerializationState(StrEnum):
    """What can be said of a file's serialization."""

    CLEAN = "clean"  # a format that cannot carry code
    UNSAFE = "unsafe"  # names globals that run code
    UNKNOWN = "unknown"  # a pickle with allowed globals only, or cut short
    NOT_SCANNED = "not scanned"  # no format that is known here


@dataclass(frozen=True)
class Serialization:
    """The format of a file and what loading it would do."""

    format: str
    state: SerializationState
    detail: str


def inspect_serialization(path: Path) -> Serialization:
    """Judge a file by its bytes; nothing in it is executed or unpickled.

    Raises
    ------
    UnreadableFileError
        If the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}") from error
    if len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27:
        return Serialization("safetensors", SerializationState.CLEAN, "tensors and text only")
    if zipfile.is_zipfile(path):
        return _inspect_zip(path)
    return _inspect_pickle(path)


def _inspect_zip(path: Path) -> Serialization:
    seen: list[Serialization] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                # Tensor storages are raw bytes; anything may be a pickle all the same.
                with archive.open(item) as member:
                    content = member.read(1)
                    if content in _PICKLE_STARTS:
                        content += member.read(_BIGGEST_PICKLE)
                if _looks_like_pickle(content):
                    seen.append(_judge(content, f"zip, {item.filename}"))
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        return Serialization("zip", SerializationState.NOT_SCANNED, f"damaged archive: {error}")
    for state in (SerializationState.UNSAFE, SerializationState.UNKNOWN):
        for found in seen:
            if found.state is state:
                return found
    return Serialization("zip", SerializationState.NOT_SCANNED, "an archive without a pickle in it")


def _inspect_pickle(path: Path) -> Serialization:
    with path.open("rb") as stream:
        content = stream.read(_BIGGEST_PICKLE)
    judged = _judge(content, "pickle")
    if judged.state is SerializationState.UNSAFE or _looks_like_pickle(content):
        return judged
    return Serialization("unknown", SerializationState.NOT_SCANNED, "no format that is known here")


def _looks_like_pickle(content: bytes) -> bool:
    """Protocol 2 and later name themselves; protocols 0 and 1 end in a STOP opcode."""
    return content[:1] == b"\x80" or (content[-1:] == b"." and content[:1] in _PICKLE_STARTS)


def _judge(content: bytes, where: str) -> Serialization:
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # one line is ours to write
    result = scan_pickle_bytes(io.BytesIO(content), where)
    named = sorted({(found.module, found.name) for found in result.globals})
    denied = [
        f"{module}.{name}"
        for module, name in named
        if (module, name) not in ALLOWED_GLOBALS and not _STORAGE.match(f"{module} {name}")
    ]
    if denied:
        return Serialization(
            where, SerializationState.UNSAFE, f"would run {', '.join(denied[:5])} if it were loaded"
        )
    return Serialization(where, SerializationState.UNKNOWN, "a pickle that names tensors only")
