"""Which readers would accept a file: it is clean only where exactly one does.

Content decides here, but loaders go by a name or try one format after another: a file that
is judged as one format may be read as another one by whoever gets it. Each test is the
reader's own, cheap, and bounded whatever the file says.
"""

from __future__ import annotations

import pickletools
import re
import tarfile
from collections.abc import Iterator
from typing import IO

from molehunt.provenance._judgement import FileFormat
from molehunt.provenance._zip_records import has_end_record

_MOST_OPCODES = 100_000
_PICKLE_HEAD = 64 * 2**20  # bytes
_MOST_FIELDS = 100_000
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIPS = {FileFormat.TORCH_ZIP, FileFormat.TORCH_EXPORT, FileFormat.TORCHSCRIPT, FileFormat.ZIP}
_PICKLES = {FileFormat.PICKLE, FileFormat.TORCH_LEGACY}
_MODULE = re.compile(r"[A-Za-z_][\w.]*")
# Opcodes that import, call or ask the reader, after which a pickle has done its harm.
_REACHING = {
    *("STACK_GLOBAL", "REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"),
}


def find_other_readers(stream: IO[bytes], judged_as: FileFormat) -> list[str]:
    """Return the formats, other than the one it was judged as, whose readers accept a file."""
    found = []
    if judged_as not in _ZIPS and has_end_record(stream):
        found.append("a zip archive")
    if judged_as not in _ZIPS | _PICKLES and _unpickler_reaches_out(stream):
        found.append("a pickle")
    if judged_as is not FileFormat.TAR and _tarfile_accepts(stream):
        found.append("a tar archive")
    if judged_as is not FileFormat.HDF5 and any(_hdf5_signatures(stream)):
        found.append("HDF5")
    if judged_as is not FileFormat.ONNX and _is_onnx_message(stream):
        found.append("an ONNX model")
    return found


def _unpickler_reaches_out(stream: IO[bytes]) -> bool:
    """Whether an unpickler, fed from the first byte on, would come to an import or a call."""
    stream.seek(0)
    content = memoryview(stream.read(_PICKLE_HEAD))
    stream.seek(0)
    at = 0
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            at = stream.tell()
            if opcode.name in _REACHING or count > _MOST_OPCODES or at > _PICKLE_HEAD:
                return True
            if opcode.name in ("GLOBAL", "INST"):
                # What is no name of a module ends the unpickler, too.
                return bool(_MODULE.match(str(argument)) and "\x00" not in str(argument))
            if opcode.name in ("PERSID", "BINPERSID"):
                return False  # a plain unpickler stops here
    except UnicodeDecodeError:
        # torch decodes text of protocol 0 as UTF-8, where pickletools wants ASCII.
        return bytes(content[at : at + 1]) == b"S"
    except Exception:  # pickletools raises many kinds where an unpickler would stop
        return False
    return False


def _tarfile_accepts(stream: IO[bytes]) -> bool:
    """Whether the first block has a tar header's checksum: old headers have no magic."""
    stream.seek(0)
    try:
        tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _hdf5_signatures(stream: IO[bytes]) -> Iterator[bool]:
    """HDF5 may start at 0, 512, 1024 and so on, doubled."""
    size = stream.seek(0, 2)
    at = 0
    while at < size:
        stream.seek(at)
        yield stream.read(len(_HDF5)) == _HDF5
        at = at * 2 or 512


def _is_onnx_message(stream: IO[bytes]) -> bool:
    """Whether the file is a protobuf message to its last byte, with ir_version and graph."""
    size = stream.seek(0, 2)
    stream.seek(0)
    seen: set[int] = set()
    for _ in range(_MOST_FIELDS):
        if stream.tell() >= size:
            return stream.tell() == size and {1, 7} <= seen
        tag = _varint(stream)
        if tag is None or tag >> 3 == 0:
            return False
        kind = tag & 7
        length = {1: 8, 5: 4}.get(kind, 0)
        if kind in (0, 2):
            value = _varint(stream)
            if value is None:
                return False
            length = value if kind == 2 else 0
        elif not length:
            return False
        stream.seek(min(stream.tell() + length, size + 1))
        seen.add(tag >> 3)
    return {1, 7} <= seen


def _varint(stream: IO[bytes]) -> int | None:
    value = 0
    for position in range(10):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << 7 * position
        if byte[0] < 128:
            return value
    return None
