"""Write a judged torch archive anew, so that a loader reads only bytes that were judged.

A judge reads an archive with one parser, torch with another (miniz). The copy made here has
one layout, ours: every member that the judge read, in one folder, stored, with one header
for each, and nothing else. What only the original could show to another parser is gone.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import tempfile
import zlib
from pathlib import Path
from typing import IO, Any

from molehunt.errors import OutputError, UnreadableFileError, UnsafeFileError
from molehunt.files import open_regular
from molehunt.provenance._archives import Archive, open_archive
from molehunt.provenance._judgement import SerializationState, UnreadContentError
from molehunt.provenance._serialization import inspect_serialization
from molehunt.provenance._zip_records import (
    CENTRAL,
    END,
    END64,
    END_MARK,
    FULL,
    LOCAL,
    LOCATOR,
    PADDING_ID,
    ZIP64_ID,
    Member,
)

_ROOT = "archive/"
_ALIGNMENT = 64  # bytes; torch maps storages from the file
_DATE = 0x21  # 1 January 1980
_UTF8 = 0x800
_VERSION = 45  # of the format, the first with ZIP64
_PICKLED = re.compile(r"data/(weights|constants)/\w+\.pt")
# Where torch cannot read example inputs safely it unpickles them; a scan needs none.
_EXAMPLES = re.compile(r"data/sample_inputs/\w+\.pt")
_LARGEST_NESTED = 256 * 2**20  # bytes


def rewrite_torch_archive(source: Path, target: Path) -> None:
    """Write the archive `source` anew as `target`, and judge what was written.

    Load `target` and never `source`: `target` holds nothing but the members that were judged.
    Example inputs of a ``.pt2`` are left empty. Members are copied in pieces of 1 MiB.

    Parameters
    ----------
    source : Path
        A file of torch.save or torch.export.
    target : Path
        A new file in a folder that nobody else can write.

    Raises
    ------
    UnreadableFileError
        If `source` is missing, damaged, or readers could disagree on it.
    UnsafeFileError
        If loading it would reach outside the file.
    OutputError
        If `target` cannot be written.

    Examples
    --------
    >>> import tempfile, torch
    >>> folder = Path(tempfile.mkdtemp())
    >>> torch.save({"weight": torch.ones(2)}, folder / "source.pt")
    >>> rewrite_torch_archive(folder / "source.pt", folder / "target.pt")
    >>> torch.load(folder / "target.pt", weights_only=True)
    {'weight': tensor([1., 1.])}
    """
    with open_regular(source) as stream:
        try:
            with target.open("xb") as out:
                _write(open_archive(stream), out)
        except UnreadContentError as error:
            raise UnreadableFileError(f"{source}: {error}") from error
        except OSError as error:
            message = error.strerror or error
            raise OutputError(f"{target}: cannot be written: {message}") from error
    judged = inspect_serialization(target)
    if judged.state is SerializationState.UNSAFE:
        raise UnsafeFileError(f"{source}: {judged.detail}")
    if judged.state is not SerializationState.CLEAN:
        raise UnreadableFileError(f"{source}: {judged.detail}")


def load_exported(path: Path) -> Any:
    """Return the program of a ``.pt2``, loaded from a copy that was written anew and judged.

    torch's own log lines, with their tracebacks, are kept from the terminal.

    Raises
    ------
    UnreadableFileError, UnsafeFileError, OutputError
        As `rewrite_torch_archive`. What torch itself raises is passed on.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "net.pt2"
    >>> torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.ones(2),)), path)
    >>> load_exported(path).module()(torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """
    import torch  # noqa: PLC0415  heavy

    loggers = [logging.getLogger(name) for name in ("torch.export", "torch._export")]
    levels = [logger.level for logger in loggers]
    with tempfile.TemporaryDirectory(prefix="molehunt-") as folder:
        target = Path(folder) / "model.pt2"
        rewrite_torch_archive(path, target)
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            return torch.export.load(target)
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _write(archive: Archive, out: IO[bytes]) -> None:
    if archive.problems:
        raise UnreadContentError(archive.problems[0])
    root = archive.root()
    directory = bytearray()
    for item in archive.members:
        name = item.name.removeprefix(root)
        content = _replace(archive, item, name)
        checksum, size = item.checksum, item.size
        if content is not None:
            checksum, size = zlib.crc32(content), len(content)
        raw = f"{_ROOT}{name}".encode()
        start = out.tell()
        fields = (_UTF8, 0, 0, _DATE, checksum, min(size, FULL), min(size, FULL), len(raw))
        wide = struct.pack("<HHQQ", ZIP64_ID, 16, size, size) if size >= FULL else b""
        padding = -(start + LOCAL.size + len(raw) + len(wide) + 4) % _ALIGNMENT
        extra = wide + struct.pack("<HH", PADDING_ID, padding) + b"Z" * padding
        out.write(LOCAL.pack(b"PK\x03\x04", _VERSION, *fields, len(extra)) + raw + extra)
        for part in [content] if content is not None else archive.chunks(item):
            out.write(part)
        numbers = [each for each in (size, size, start) if each >= FULL]
        wide = struct.pack(f"<HH{len(numbers)}Q", ZIP64_ID, 8 * len(numbers), *numbers)
        wide = wide if numbers else b""
        tail = (len(wide), 0, 0, 0, 0, min(start, FULL))
        directory += CENTRAL.pack(b"PK\x01\x02", _VERSION, _VERSION, *fields, *tail) + raw + wide
    _write_end(out, bytes(directory), len(archive.members))


def _write_end(out: IO[bytes], directory: bytes, count: int) -> None:
    start = out.tell()
    out.write(directory)
    if count >= 0xFFFF or start >= FULL:
        wide = (count, count, len(directory), start)
        end64 = out.tell()
        out.write(END64.pack(b"PK\x06\x06", END64.size - 12, _VERSION, _VERSION, 0, 0, *wide))
        out.write(LOCATOR.pack(b"PK\x06\x07", 0, end64, 1))
    few, near = min(count, 0xFFFF), min(start, FULL)
    out.write(END.pack(END_MARK, 0, 0, few, few, len(directory), near, 0))


def _replace(archive: Archive, item: Member, name: str) -> bytes | None:
    """Return what stands in place of a member that is an archive itself, else None."""
    if _EXAMPLES.fullmatch(name):
        return b""
    if not _PICKLED.fullmatch(name) or not item.size:
        return None
    inner = io.BytesIO()
    _write(open_archive(io.BytesIO(archive.read(item, _LARGEST_NESTED))), inner)
    return inner.getvalue()
