"""Zip archives that every reader understands in the same way, or a list of why not.

Python's zipfile, torch's reader and an unpacker may each see other members in one file: by
bytes before or after the archive, by members that overlap or are named twice, by headers
that contradict each other, by extra fields that one of them obeys. torch writes none of
these, so an archive that has any is never called clean. What passes our own strict reading
is held against what zipfile and torch's own reader see.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from molehunt.provenance._judgement import UnreadContentError
from molehunt.provenance._zip_records import (
    DAMAGE,
    Member,
    data_start,
    find_member_problems,
    read_directory,
    read_members,
)

_LARGEST_INFLATED = 64 * 2**20  # bytes, of all compressed members together
_CHUNK = 2**20


@dataclass
class Archive:
    """A zip archive opened for judging.

    `problems` says what readers could disagree on; it grows while members are read.
    """

    stream: IO[bytes]
    members: list[Member]
    problems: list[str] = field(default_factory=list)
    inflated: int = 0

    def root(self) -> str:
        """Return the one folder above all members with its slash, empty if there are more."""
        roots = {item.name.partition("/")[0] for item in self.members}
        if len(roots) == 1 and all("/" in item.name for item in self.members):
            return f"{roots.pop()}/"
        return ""

    def chunks(self, item: Member) -> Iterator[bytes]:
        """Yield a member's bytes; the last chunk comes only where its checksum is right.

        Raises
        ------
        UnreadContentError
            If it is encrypted, damaged, or inflates beyond the bound of the whole archive.
        """
        parts = self._stored(item) if item.is_stored else self._inflated(item)
        checksum, size, held = 0, 0, b""
        try:
            for part in parts:
                checksum = zlib.crc32(part, checksum)
                size += len(part)
                if held:
                    yield held
                held = part
        except DAMAGE as error:
            message = " ".join(str(error).split())
            raise UnreadContentError(f"{item.name}: {message:.100}") from error
        if (checksum, size) != (item.checksum, item.size):
            raise UnreadContentError(f"{item.name}: its bytes do not have its checksum")
        if held:
            yield held

    def _packed(self, item: Member) -> Iterator[bytes]:
        if item.is_encrypted:
            raise UnreadContentError(f"{item.name}: encrypted")
        at = data_start(self.stream, item, [])
        left = item.packed
        while left:
            self.stream.seek(at)
            part = self.stream.read(min(_CHUNK, left))
            if not part:
                raise UnreadContentError(f"{item.name}: cut short")
            at, left = at + len(part), left - len(part)
            yield part

    def _stored(self, item: Member) -> Iterator[bytes]:
        if item.packed != item.size:
            raise UnreadContentError(f"{item.name}: two sizes that contradict each other")
        return self._packed(item)

    def _inflated(self, item: Member) -> Iterator[bytes]:
        if item.method != zipfile.ZIP_DEFLATED:
            raise UnreadContentError(f"{item.name}: compressed in a way not known here")
        inflate = zlib.decompressobj(-15)
        for packed in self._packed(item):
            rest = packed
            while rest and not inflate.eof:
                part = inflate.decompress(rest, _CHUNK)
                rest = inflate.unconsumed_tail
                self.inflated += len(part)
                if self.inflated > _LARGEST_INFLATED:
                    raise UnreadContentError(f"inflates beyond {_LARGEST_INFLATED} bytes")
                if part:
                    yield part
        if not inflate.eof or inflate.unused_data:
            raise UnreadContentError(f"{item.name}: damaged")

    def read(self, item: Member, most: int) -> bytes:
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
                raise UnreadContentError(f"{item.name}: more than {most} bytes")
        return bytes(content)


def open_archive(stream: IO[bytes]) -> Archive:
    """Open a zip archive and look for anything that readers could disagree on.

    Raises
    ------
    UnreadContentError
        If it cannot be opened within bounds at all.
    """
    problems: list[str] = []
    try:
        directory = read_directory(stream, problems)
        members = read_members(stream, directory, problems)
        problems += find_member_problems(stream, members, directory)
        # Only what is plain to us is shown to the other readers.
        if not problems and not _zipfile_agrees(stream, members):
            problems.append("members that Python's zipfile reads differently")
    except DAMAGE as error:
        message = " ".join(str(error).split())
        raise UnreadContentError(f"a damaged archive: {message:.100}") from error
    return Archive(stream, members, problems)


def _zipfile_agrees(stream: IO[bytes], members: list[Member]) -> bool:
    seen = [
        (item.filename, item.orig_filename, item.header_offset, item.compress_size, item.file_size)
        for item in zipfile.ZipFile(stream).infolist()
    ]
    ours = [(item.name, item.name, item.header, item.packed, item.size) for item in members]
    return seen == ours


def find_differences_for_torch(archive: Archive, root: str) -> list[str]:
    """Return what torch's own reader (miniz) sees otherwise than we do.

    It is asked only about an archive without `problems`, whose directory is bounded.
    """
    if archive.problems:
        return []
    import torch  # noqa: PLC0415  heavy

    archive.stream.seek(0)
    try:
        reader: Any = torch._C.PyTorchFileReader(archive.stream)
        seen = {name: reader.get_record_offset(name) for name in reader.get_all_records()}
        sizes = {name: reader.get_record_size(name) for name in seen}
    except Exception as error:  # torch raises its own kinds for all that it cannot open
        return [f"an archive that torch's reader refuses: {' '.join(str(error).split()):.100}"]
    ours = {item.name.removeprefix(root): item for item in archive.members}
    if set(seen) != set(ours):
        return ["members that torch's reader names differently"]
    return [
        f"a member that torch's reader finds elsewhere: {name}"
        for name, item in ours.items()
        if (seen[name], sizes[name]) != (data_start(archive.stream, item, []), item.size)
    ]
