"""Judge what torch.save writes: a zip archive, or before torch 1.6 a chain of pickles."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import replace

from molehunt.provenance._archives import (
    Archive,
    find_differences_for_torch,
    open_archive,
)
from molehunt.provenance._judgement import (
    Judgement,
    SerializationState,
    UnreadContentError,
    UnsafeContentError,
    clean,
    judge_unknown,
    of_names,
    unsafe,
    worst,
)
from molehunt.provenance._pickle_calls import Storage
from molehunt.provenance._pickle_machine import read_pickle
from molehunt.provenance._pickles import (
    LARGEST_PICKLE,
    judge_pickle,
    looks_like_pickle,
    names_in,
)
from molehunt.provenance._zip_records import Member

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_STORAGE = re.compile(r"data/\w+")
_SMALL = {"version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"}
_LARGEST_SMALL = 4096
_CODE = (".py", ".pyc", ".so", ".dll", ".dylib", ".pyd", ".cpp", ".c", ".cu", ".o", ".a", ".sh")
_DEEPEST = 2
_ZIP_START = b"PK\x03\x04"


def judge_torch_zip(archive: Archive, root: str) -> Judgement:
    """Judge an archive of torch.save: its pickle, and every storage against the pickle.

    torch.load reads the pickle ``data.pkl`` and, for each storage that it names, one
    member of raw bytes; both are asked for here as torch asks for them.
    """
    items = {item.name.removeprefix(root): item for item in archive.members}
    found: list[Judgement] = []
    raw: set[str] = set()
    try:
        content = archive.read(items["data.pkl"], LARGEST_PICKLE)
        found.append(judge_pickle(content))
        storages = {storage.key: storage for storage in read_pickle(content).storages}
        found += _misfits(items, storages)
        raw = _raw(items, storages)
    except UnsafeContentError as error:
        found.append(unsafe(str(error)))
    except UnreadContentError as error:
        found.append(judge_unknown(str(error)))
    others = [item for name, item in items.items() if name not in raw and name != "data.pkl"]
    found.append(judge_members(archive, others))
    found += [judge_raw(archive, items[name]) for name in raw]
    found += [judge_unknown(problem) for problem in archive.problems]
    verdict = worst(found, otherwise=clean("tensors and plain values only"))
    if verdict.state is SerializationState.CLEAN:  # what is clean so far is small to open
        verdict = of_names(verdict.names, verdict)
        return worst(
            map(judge_unknown, find_differences_for_torch(archive, root)), otherwise=verdict
        )
    return verdict


def _raw(items: dict[str, Member], storages: dict[str, Storage]) -> set[str]:
    """Return the members that are taken as raw numbers, whatever they look like.

    The numbers of an honest tensor may begin like a pickle or an archive.
    """
    names = {f"data/{storage.key}": storage.size for storage in storages.values()}
    return {name for name, size in names.items() if name in items and items[name].size == size}


def judge_raw(archive: Archive, item: Member) -> Judgement:
    """Judge a member that is read as numbers by its checksum alone."""
    try:
        for _ in archive.chunks(item):
            pass
    except UnreadContentError as error:
        return judge_unknown(str(error))
    return clean("raw numbers")


def _misfits(items: dict[str, Member], storages: dict[str, Storage]) -> Iterable[Judgement]:
    for name, item in items.items():
        if not item.is_stored:
            yield judge_unknown(f"a compressed member, which torch.save does not write: {name}")
        if name in _SMALL:
            if item.size > _LARGEST_SMALL:
                yield judge_unknown(f"{name} of {item.size} bytes")
        elif name != "data.pkl" and not _STORAGE.fullmatch(name):
            yield judge_unknown(f"a member that torch.save does not write: {name}")
    for storage in storages.values():
        stored = items.get(f"data/{storage.key}")
        if stored is None or stored.size != storage.size:
            yield judge_unknown(f"storage {storage.key} is not there with its {storage.size} bytes")


def judge_members(archive: Archive, items: Iterable[Member], depth: int = 0) -> Judgement:
    """Read members to their end, and judge those that could be code, pickles or archives.

    Raw tensors may look like anything, so a member that only resembles a pickle is not
    held against the archive; one that names a forbidden global is.
    """
    found: list[Judgement] = []
    for item in items:
        if item.name.lower().endswith(_CODE):
            found.append(unsafe(f"carries code: {item.name}"))
            continue
        try:
            content = _content_that_matters(archive, item)
        except UnreadContentError as error:
            found.append(judge_unknown(str(error)))
        else:
            found.append(_judge_content(content, item.name, depth))
    return worst(found, otherwise=clean("no code, no pickle and no archive"))


def _content_that_matters(archive: Archive, item: Member) -> bytes:
    """Read a member to its end for its checksum; keep it where it may be more than tensors."""
    kept = bytearray()
    for position, chunk in enumerate(archive.chunks(item)):
        if position == 0 or (_may_matter(kept) and len(kept) <= LARGEST_PICKLE):
            kept += chunk
    return bytes(kept)


def _may_matter(start: bytes | bytearray) -> bool:
    return start[:4] == _ZIP_START or looks_like_pickle(bytes(start[:2]) + b".")


def _judge_content(content: bytes, name: str, depth: int) -> Judgement:
    if content[:4] == _ZIP_START:
        if depth >= _DEEPEST:
            return judge_unknown(f"archives within archives: {name}")
        try:
            inner = open_archive(io.BytesIO(content))
        except UnreadContentError as error:
            return judge_unknown(f"{name}: {error}")
        judged = judge_members(inner, inner.members, depth + 1)
        return replace(judged, detail=f"{name}: {judged.detail}")
    if looks_like_pickle(content):
        judged = judge_pickle(content)
        named = judged.names.dangerous or judged.names.unknown
        if named or judged.state is SerializationState.UNSAFE:
            return replace(judged, detail=f"{name}: {judged.detail}")
    return clean("no pickle")


def judge_torch_legacy(content: bytes, size: int) -> Judgement | None:
    """Judge the start of a file in torch's format before 1.6; None if it is in another.

    torch.load (``torch/serialization.py::_legacy_load``) reads a magic number, a protocol
    number, a dict of the writer's machine, the object, a list of storage keys, and then
    each storage: its length in 8 bytes and its elements.
    """
    try:
        magic = read_pickle(content)
        if magic.value != _LEGACY_MAGIC:
            return None
        protocol = read_pickle(content, magic.end)
        machine = read_pickle(content, protocol.end)
        saved = read_pickle(content, machine.end)
        keys = read_pickle(content, saved.end)
    except (UnsafeContentError, UnreadContentError) as error:
        if not _is_legacy(content):
            return None
        judge = unsafe if isinstance(error, UnsafeContentError) else judge_unknown
        return of_names(error.names | names_in(content), judge(str(error)))
    names = magic.names | protocol.names | machine.names | saved.names | keys.names
    storages = {storage.key: storage for storage in saved.storages}
    expected = keys.end + sum(8 + storage.size for storage in storages.values())
    if protocol.value != _LEGACY_PROTOCOL:
        return of_names(names, judge_unknown(f"protocol {protocol.value!r:.40}"))
    if expected != size:
        return of_names(names, judge_unknown(f"{size} bytes where its tensors need {expected}"))
    return of_names(names, clean("tensors and plain values only"))


def _is_legacy(content: bytes) -> bool:
    try:
        return read_pickle(content).value == _LEGACY_MAGIC
    except (UnsafeContentError, UnreadContentError):
        return False
