"""The records of a zip archive, read strictly: what torch writes, and nothing beside it.

Readers differ in how they take extra fields: Python 3.12 renames members by Info-ZIP's
Unicode Path, Python 3.11 applies a second ZIP64 field, torch's reader (miniz,
``caffe2/serialize/inline_container.cc``) does neither. So the only extra field that passes
in the central directory is one ZIP64 field of exactly the length that is needed, and in a
local header that one and torch's padding.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

from molehunt.provenance._judgement import UnreadContentError

_MOST_MEMBERS = 200_000
_LARGEST_DIRECTORY = 64 * 2**20  # bytes
END_MARK = b"PK\x05\x06"
END = struct.Struct("<4s4H2LH")
LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
FULL = 0xFFFFFFFF
ZIP64_ID = 1
PADDING_ID = 0x4246  # "FB": torch puts storages at multiples of 64 bytes
_ENCRYPTED, _LATER, _UTF8 = 0x1, 0x8, 0x800
_SYMLINK = 0o120000
DAMAGE = (zipfile.BadZipFile, OSError, ValueError, OverflowError, struct.error, zlib.error)


@dataclass(frozen=True)
class Member:
    """An entry of the central directory; positions and sizes are in bytes."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    header: int
    mode: int

    @property
    def is_stored(self) -> bool:
        """Whether its bytes stand in the file as they are."""
        return self.method == zipfile.ZIP_STORED

    @property
    def is_encrypted(self) -> bool:
        """Whether a password is needed."""
        return bool(self.flags & _ENCRYPTED)


@dataclass(frozen=True)
class Directory:
    """Where the central directory lies, and how far the archive is shifted in its file."""

    start: int
    length: int
    count: int
    shift: int


def has_end_record(stream: IO[bytes]) -> bool:
    """Whether any reader of zip archives would find an end record in the last 64 KiB."""
    return END_MARK in _tail(stream)[1]


def _tail(stream: IO[bytes]) -> tuple[int, bytes]:
    size = stream.seek(0, 2)
    start = max(0, size - 2**16 - END.size)
    stream.seek(start)
    return start, stream.read(size - start)


def _at(stream: IO[bytes], position: int, layout: struct.Struct) -> tuple[int | bytes, ...]:
    if position < 0:
        raise UnreadContentError("a damaged archive: cut short")
    stream.seek(position)
    content = stream.read(layout.size)
    if len(content) != layout.size:
        raise UnreadContentError("a damaged archive: cut short")
    return layout.unpack(content)


def read_directory(stream: IO[bytes], problems: list[str]) -> Directory:
    """Read the end records before anything is allocated by them.

    Raises
    ------
    UnreadContentError
        If there is none, or the directory is larger than any honest one.
    """
    start, last = _tail(stream)
    found = last.rfind(END_MARK)
    if found < 0 or len(last) - found < END.size:
        raise UnreadContentError("a damaged archive: no end record")
    end = start + found
    if len(last) - found != END.size:
        problems.append("bytes after the end of the archive")
    _, disk, first_disk, here, count, length, offset, _ = END.unpack_from(last, found)
    if disk or first_disk or here != count:
        problems.append("an archive in several parts")
    directory_end = end
    if last[max(0, found - LOCATOR.size) : found].startswith(b"PK\x06\x07"):
        _, disk64, end64, disks = _at(stream, end - LOCATOR.size, LOCATOR)
        record = _at(stream, int(end64), END64)
        wide = [int(value) for value in record[7:10]]
        for narrow, value, full in zip(
            (count, length, offset), wide, (0xFFFF, FULL, FULL), strict=True
        ):
            if narrow not in (value, full):
                problems.append("two end records that contradict each other")
        place = int(end64) + END64.size == end - LOCATOR.size
        whole = (disk64, disks, record[4], record[5]) == (0, 1, 0, 0) and record[6] == record[7]
        if record[0] != b"PK\x06\x06" or record[1] != END64.size - 12 or not (place and whole):
            problems.append("an end record that is not where it belongs")
        count, length, offset = wide
        directory_end = int(end64)
    if count > _MOST_MEMBERS or length > _LARGEST_DIRECTORY:
        raise UnreadContentError(f"an archive of {count} members")
    shift = directory_end - length - offset
    if shift:
        problems.append("bytes before the archive or between its parts")
    return Directory(directory_end - length, length, count, max(shift, 0))


def read_members(stream: IO[bytes], directory: Directory, problems: list[str]) -> list[Member]:
    """Read every entry of the central directory.

    Raises
    ------
    UnreadContentError
        If the directory is damaged.
    """
    if directory.start < 0:
        raise UnreadContentError("a damaged archive: cut short")
    stream.seek(directory.start)
    content = stream.read(directory.length)
    members: list[Member] = []
    at = 0
    while at + CENTRAL.size <= len(content):
        fields = CENTRAL.unpack_from(content, at)
        if fields[0] != b"PK\x01\x02":
            break
        names, extras, comments = fields[10:13]
        at += CENTRAL.size
        raw_name, extra = content[at : at + names], content[at + names : at + names + extras]
        at += names + extras + comments
        if at > len(content) or len(members) >= _MOST_MEMBERS:
            raise UnreadContentError("a damaged archive: its directory is cut short")
        name = _text(raw_name, fields[3], problems)
        if comments or fields[13]:
            problems.append(f"a comment or another part of the archive at {name}")
        packed, size, header = _wide(extra, (fields[8], fields[9], fields[16]), name, problems)
        members.append(
            Member(
                *(name, raw_name, fields[3], fields[4], fields[7], packed, size),
                *(header + directory.shift, fields[15] >> 16),
            )
        )
    if at != len(content) or len(members) != directory.count:
        problems.append("a directory that is longer or shorter than the archive says")
    return members


def _text(raw: bytes, flags: int, problems: list[str]) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        name = raw.decode("latin-1")
        problems.append(f"a name that readers decode differently: {name}")
    if "\x00" in name:
        problems.append("a member with a zero byte in its name")
    return name


def _wide(
    extra: bytes, narrow: tuple[int, int, int], name: str, problems: list[str]
) -> tuple[int, int, int]:
    """Return packed size, size and offset; a ZIP64 field holds those that do not fit."""
    packed, size, header = narrow
    # In the order of the field: size, packed size, offset.
    needed = [value == FULL for value in (size, packed, header)]
    count = sum(needed)
    if not extra and not count:
        return narrow
    expected = struct.pack("<HH", ZIP64_ID, 8 * count)
    if not count or len(extra) != 4 + 8 * count or extra[:4] != expected:
        problems.append(f"extra fields that readers take differently, at {name}")
        return narrow
    wide = iter(struct.unpack_from(f"<{count}Q", extra, 4))
    size, packed, header = (
        next(wide) if need else value
        for need, value in zip(needed, (size, packed, header), strict=True)
    )
    return packed, size, header


def find_member_problems(
    stream: IO[bytes], members: list[Member], directory: Directory
) -> list[str]:
    """Return what readers could disagree on: names, local headers, and bytes between members."""
    problems: list[str] = []
    seen: set[str] = set()
    expected = 0
    for member in sorted(members, key=lambda member: member.header):
        name = member.name
        if name.lower() in seen:
            problems.append(f"two members named {name}")
        seen.add(name.lower())
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\\" in name:
            problems.append(f"a member that leaves the folder: {name}")
        if member.mode & 0o170000 == _SYMLINK:
            problems.append(f"a member that is a symbolic link: {name}")
        if member.is_encrypted:
            problems.append(f"an encrypted member: {name}")
        if member.header != expected:
            problems.append(f"bytes that belong to no member, or members that overlap, at {name}")
        data = data_start(stream, member, problems)
        expected = data + member.packed + _descriptor_length(stream, member, data, problems)
    if directory.start != expected:
        problems.append("bytes that belong to no member, before the directory")
    return problems


def data_start(stream: IO[bytes], member: Member, problems: list[str]) -> int:
    """Compare the local header with the directory; return where the member's bytes start.

    Raises
    ------
    UnreadContentError
        If there is no local header.
    """
    fields = _at(stream, member.header, LOCAL)
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
    name = stream.read(int(name_length))
    extra = stream.read(int(extra_length))
    # Sizes may stand behind the data, or in a 64-bit field.
    later = bool(member.flags & _LATER)
    told = (
        (crc == member.checksum or (later and crc == 0))
        and (packed in (member.packed, FULL) or (later and packed == 0))
        and (size in (member.size, FULL) or (later and size == 0))
    )
    same = name == member.raw_name and (flags, method) == (member.flags, member.method)
    if fields[0] != b"PK\x03\x04" or not same or not told:
        problems.append(f"two headers that contradict each other: {member.name}")
    if not _is_plain(extra, member):
        problems.append(f"extra fields that readers take differently, at {member.name}")
    return member.header + LOCAL.size + int(name_length) + int(extra_length)


def _is_plain(extra: bytes, member: Member) -> bool:
    """Whether a local header has one ZIP64 field that is true and torch's padding, at most."""
    at, seen = 0, set()
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        content = extra[at + 4 : at + 4 + length]
        if kind in seen or len(content) != length:
            return False
        seen.add(kind)
        if kind == ZIP64_ID and length in (8, 16, 24):
            told = {member.size, member.packed, member.header}
            if member.flags & _LATER:
                told.add(0)  # torch writes the packed size behind the data
            if not told.issuperset(struct.unpack(f"<{length // 8}Q", content)):
                return False
        elif kind != PADDING_ID or content.strip(b"Z"):
            return False
        at += 4 + length
    return at == len(extra)


def _descriptor_length(stream: IO[bytes], member: Member, data: int, problems: list[str]) -> int:
    """Return the length of the sizes behind a member's bytes, where its flags tell of them."""
    if not member.flags & _LATER:
        return 0
    stream.seek(data + member.packed)
    content = stream.read(24)
    for layout in ("<L2Q", "<L2L"):
        try:
            told = struct.pack(layout, member.checksum, member.packed, member.size)
        except struct.error:
            continue
        for descriptor in (b"PK\x07\x08" + told, told):
            if content.startswith(descriptor):
                return len(descriptor)
    problems.append(f"sizes behind the data that contradict the directory: {member.name}")
    return 0
