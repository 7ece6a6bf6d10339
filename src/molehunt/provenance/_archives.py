"""Zip archives that every reader understands in the same way, or a list of why not.

Python's zipfile, torch's reader (miniz, ``caffe2/serialize/inline_container.cc``) and an
unpacker may each see other members in one file: by bytes before or after the archive, by
members that overlap or are named twice, by local headers that contradict the central
directory. torch writes none of these, so an archive that has any is never called clean.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from molehunt.provenance._judgement import UnreadContentError

_MOST_MEMBERS = 200_000
_LARGEST_DIRECTORY = 64 * 2**20  # bytes
_LARGEST_INFLATED = 64 * 2**20  # bytes, of all compressed members together
_CHUNK = 2**20
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL = struct.Struct("<4s5H3L2H")
# Sizes of the data descriptor that may follow a member: none; with or without signature.
_GAPS = {0, 12, 16, 20, 24}
_SYMLINK = 0o120000
_DAMAGE = (
    *(zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError),
    *(zlib.error, ValueError, struct.error, OverflowError),
)


@dataclass
class Archive:
    """A zip archive opened for judging.

    `problems` says what readers could disagree on; it grows while members are read.
    """

    zip: zipfile.ZipFile
    stream: IO[bytes]
    problems: list[str] = field(default_factory=list)
    inflated: int = 0

    @property
    def members(self) -> list[zipfile.ZipInfo]:
        """All entries of the central directory, in its order."""
        return self.zip.infolist()

    def root(self) -> str:
        """Return the one folder above all members with its slash, empty if there are more."""
        roots = {item.filename.partition("/")[0] for item in self.members}
        if len(roots) == 1 and all("/" in item.filename for item in self.members):
            return f"{roots.pop()}/"
        return ""

    def chunks(self, item: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield a member's bytes; the last chunk comes only where its checksum is right.

        Raises
        ------
        UnreadContentError
            If it is encrypted, damaged, or inflates beyond the bound of the whole archive.
        """
        stored = item.compress_type == zipfile.ZIP_STORED
        try:
            with self.zip.open(item) as member:
                while chunk := member.read(_CHUNK):
                    if not stored:
                        self.inflated += len(chunk)
                        if self.inflated > _LARGEST_INFLATED:
                            raise UnreadContentError(f"inflates beyond {_LARGEST_INFLATED} bytes")
                    yield chunk
        except _DAMAGE as error:
            message = " ".join(str(error).split())
            raise UnreadContentError(f"{item.filename}: {message:.100}") from error

    def read(self, item: zipfile.ZipInfo, most: int) -> bytes:
        """Return the bytes of one member.

        Raises
        ------
        UnreadContentError
            As `chunks`, and if there are more than `most`.
        """
        content = bytearray()
        for chunk in self.chunks(item):
            content += chunk
            if len(content) > most:
                raise UnreadContentError(f"{item.filename}: more than {most} bytes")
        return bytes(content)


def open_archive(stream: IO[bytes]) -> Archive:
    """Open a zip archive and look for anything that readers could disagree on.

    Raises
    ------
    UnreadContentError
        If it cannot be opened within bounds at all.
    """
    size = stream.seek(0, 2)
    try:
        problems = _end_problems(stream, size)
        archive = Archive(zipfile.ZipFile(stream), stream, problems)
        archive.problems += _member_problems(archive)
    except _DAMAGE as error:
        message = " ".join(str(error).split())
        raise UnreadContentError(f"a damaged archive: {message:.100}") from error
    return archive


def _at(stream: IO[bytes], position: int, layout: struct.Struct) -> tuple[int | bytes, ...]:
    stream.seek(position)
    content = stream.read(layout.size)
    if position < 0 or len(content) != layout.size:
        raise UnreadContentError("a damaged archive: cut short")
    return layout.unpack(content)


def _end_problems(stream: IO[bytes], size: int) -> list[str]:
    """Check the end records before anything is allocated by them."""
    tail = min(size, 2**16 + _END.size)
    stream.seek(size - tail)
    last = stream.read(tail)
    found = last.rfind(b"PK\x05\x06")
    if found < 0 or tail - found < _END.size:
        raise UnreadContentError("a damaged archive: no end record")
    problems = []
    end = size - tail + found
    if end + _END.size != size:
        problems.append("bytes after the end of the archive")
    _, disk, first_disk, here, count, length, start, _ = _END.unpack_from(last, found)
    directory_end = end
    if disk or first_disk or here != count:
        problems.append("an archive in several parts")
    if end >= _LOCATOR.size and last[max(0, found - _LOCATOR.size) :].startswith(b"PK\x06\x07"):
        _, _, end64, _ = _at(stream, end - _LOCATOR.size, _LOCATOR)
        record = _at(stream, int(end64), _END64)
        wide = (int(record[7]), int(record[8]), int(record[9]))
        for narrow, value, full in zip(
            (count, length, start), wide, (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True
        ):
            if narrow not in (value, full):
                problems.append("two end records that contradict each other")
        if record[0] != b"PK\x06\x06" or int(end64) + _END64.size != end - _LOCATOR.size:
            problems.append("an end record that is not where it belongs")
        count, length, start = wide
        directory_end = int(end64)
    if count > _MOST_MEMBERS or length > _LARGEST_DIRECTORY:
        raise UnreadContentError(f"an archive of {count} members")
    if start + length != directory_end:
        problems.append("bytes before the archive or between its parts")
    return problems


def _member_problems(archive: Archive) -> list[str]:
    problems = []
    seen: set[str] = set()
    expected = 0
    for item in sorted(archive.members, key=lambda item: item.header_offset):
        name = item.filename
        if name.lower() in seen:
            problems.append(f"two members named {name}")
        seen.add(name.lower())
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\\" in name:
            problems.append(f"a member that leaves the folder: {name}")
        if "\x00" in item.orig_filename:
            problems.append("a member with a zero byte in its name")
        if (item.external_attr >> 16) & 0o170000 == _SYMLINK:
            problems.append(f"a member that is a symbolic link: {name}")
        if item.flag_bits & 0x1:
            problems.append(f"an encrypted member: {name}")
        if item.header_offset - expected not in _GAPS:
            problems.append(f"bytes that belong to no member, or members that overlap, at {name}")
        expected = item.header_offset + _size_with_header(archive.stream, item, problems)
    if archive.zip.start_dir - expected not in _GAPS:
        problems.append("bytes that belong to no member, before the directory")
    return problems


def _size_with_header(stream: IO[bytes], item: zipfile.ZipInfo, problems: list[str]) -> int:
    """Compare the local header with the directory; return header and data size in bytes."""
    header = _at(stream, item.header_offset, _LOCAL)
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = header
    name = stream.read(int(name_length))
    encoding = "utf-8" if item.flag_bits & 0x800 else "cp437"
    # Sizes may stand behind the data, or in a 64-bit field.
    later = bool(item.flag_bits & 0x8)
    told = (
        (crc == item.CRC or (later and crc == 0))
        and (packed in (item.compress_size, 0xFFFFFFFF) or (later and packed == 0))
        and (size in (item.file_size, 0xFFFFFFFF) or (later and size == 0))
    )
    if (
        header[0] != b"PK\x03\x04"
        or name != item.orig_filename.encode(encoding, "replace")
        or (flags, method) != (item.flag_bits, item.compress_type)
        or not told
    ):
        problems.append(f"two headers that contradict each other: {item.filename}")
    return _LOCAL.size + int(name_length) + int(extra_length) + item.compress_size
