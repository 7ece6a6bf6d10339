"""Zip archives record by record, so that a test can let any field of them lie."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Entry:
    """A member as it is written; extras and the second name are what readers may obey."""

    name: str
    content: bytes
    extra: bytes = b""
    local_extra: bytes = b""
    comment: bytes = b""
    flags: int = 0
    descriptor: bytes = b""
    offset: int | None = None  # in the directory, where it is not the true one


@dataclass
class Zip:
    """An archive of `entries`; `count` and `tail` may be wrong."""

    entries: list[Entry] = field(default_factory=list)
    count: int | None = None
    comment: bytes = b""

    def bytes(self) -> bytes:
        body, directory = b"", b""
        for each in self.entries:
            raw, n, crc = each.name.encode(), len(each.content), zlib.crc32(each.content)
            head = (each.flags, 0, 0, 0x21, crc, n, n, len(raw))
            at = len(body) if each.offset is None else each.offset
            body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, *head, len(each.local_extra))
            body += raw + each.local_extra + each.content + each.descriptor
            tail = (len(each.extra), len(each.comment), 0, 0, 0, at)
            directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, *head, *tail)
            directory += raw + each.extra + each.comment
        count = len(self.entries) if self.count is None else self.count
        sizes = (count, count, len(directory), len(body), len(self.comment))
        return body + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *sizes) + self.comment


def unpack(content: bytes) -> Zip:
    """Return an honest archive with its members, to be changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return Zip([Entry(item.filename, archive.read(item)) for item in archive.infolist()])


def extra(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def unicode_path(name: str, shown: str) -> bytes:
    """Info-ZIP's field: Python 3.12 and later call the member `shown`, torch does not."""
    return extra(0x7075, struct.pack("<BL", 1, zlib.crc32(name.encode())) + shown.encode())


def swap_by_unicode_path(content: bytes, name: str, hostile: bytes) -> bytes:
    """Let torch find `hostile` as member `name`, and Python 3.12 the honest one."""
    archive = unpack(content)
    root = archive.entries[0].name.partition("/")[0]
    honest = next(each for each in archive.entries if each.name == f"{root}/{name}")
    hidden = f"{root}/extra/b.txt"
    archive.entries.append(
        Entry(hidden, honest.content, extra=unicode_path(hidden, honest.name)),
    )
    honest.extra = unicode_path(honest.name, f"{root}/extra/a.txt")
    honest.content = hostile
    return archive.bytes()


def _on_first(**changes: object) -> Callable[[Zip], None]:
    def change(archive: Zip) -> None:
        for key, value in changes.items():
            setattr(archive.entries[0], key, value)

    return change


def _fewer(archive: Zip) -> None:
    archive.count = len(archive.entries) - 1


def _more(archive: Zip) -> None:
    archive.count = len(archive.entries) + 1


def _case(archive: Zip) -> None:
    first = archive.entries[0]
    archive.entries.append(Entry(first.name.replace("a", "A"), first.content))


ZIP64 = extra(1, struct.pack("<Q", 0))
# One change each to an honest archive that some reader obeys and another one does not.
CHANGES: dict[str, Callable[[Zip], None]] = {
    "ZIP64 that nothing needs": _on_first(extra=ZIP64),
    "ZIP64 twice": _on_first(extra=ZIP64 + ZIP64),
    "ZIP64 of no length": _on_first(extra=extra(1, b"")),
    "ZIP64 needed, none there": _on_first(offset=0xFFFFFFFF),
    "ZIP64 needed, twice": _on_first(offset=0xFFFFFFFF, extra=ZIP64 + ZIP64),
    "ZIP64 needed, too long": _on_first(offset=0xFFFFFFFF, extra=extra(1, bytes(16))),
    "ZIP64 needed, and another": _on_first(offset=0xFFFFFFFF, extra=ZIP64 + extra(9, b"")),
    "times of Info-ZIP": _on_first(extra=extra(0x5455, b"\1" + bytes(4))),
    "Unicode Path": _on_first(extra=unicode_path("a", "b")),
    "Unicode Path in the local header": _on_first(local_extra=unicode_path("a", "b")),
    "Unicode Comment": _on_first(extra=extra(0x6375, bytes(5))),
    "AES": _on_first(extra=extra(0x9901, bytes(7))),
    "half an extra field": _on_first(extra=b"\1\0"),
    "padding that says something": _on_first(local_extra=extra(0x4246, b"cos\nsystem\n")),
    "padding twice": _on_first(local_extra=extra(0x4246, b"Z") + extra(0x4246, b"Z")),
    "ZIP64 in the local header that lies": _on_first(local_extra=extra(1, b"\7" * 16)),
    "a comment of a member": _on_first(comment=b"x"),
    "sizes behind the data that lie": _on_first(flags=8, descriptor=b"PK\7\x08" + bytes(12)),
    "sizes behind the data, none there": _on_first(flags=8),
    "sizes behind the data, not told": _on_first(descriptor=bytes(16)),
    "a count too low": _fewer,
    "a count too high": _more,
    "names that differ in case": _case,
}
