"""Unsafe serialization: would loading this file reach outside it? Told without loading it.

Files are judged by their content, never by their name. What is not known to be harmless
is not called clean: a name that can run code makes a file unsafe, one of a package that is
not known here unfamiliar, and a file that could not be read to its end, or that two readers
could read differently, is unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from molehunt.errors import UnreadableFileError
from molehunt.provenance._archives import Archive, open_archive
from molehunt.provenance._exported import judge_exported
from molehunt.provenance._judgement import (
    FileFormat,
    Judgement,
    Serialization,
    SerializationState,
    UnreadContentError,
    UnsafeContentError,
    judge_unknown,
    unsafe,
    worst,
)
from molehunt.provenance._no_models import describe_archive, describe_no_model
from molehunt.provenance._onnx_file import judge_onnx, may_be_onnx, parse_onnx
from molehunt.provenance._pickle_machine import read_pickle
from molehunt.provenance._pickles import (
    LARGEST_PICKLE,
    judge_pickle,
    looks_like_pickle,
    names_in,
)
from molehunt.provenance._readers import find_other_readers
from molehunt.provenance._safetensors_header import judge_safetensors, starts_like_safetensors
from molehunt.provenance._torch_files import judge_members, judge_torch_legacy, judge_torch_zip
from molehunt.provenance._zip_records import has_end_record

_HEAD = 512
# Formats that are named so that a message can say what the file is.
_NAMED = {
    b"\x89HDF\r\n\x1a\n": (FileFormat.HDF5, "HDF5, perhaps of Keras"),
    b"\x93NUMPY": (FileFormat.NUMPY, "a NumPy array"),
    b"\x1f\x8b": (FileFormat.GZIP, "gzip: unpack it first"),
    b"7z\xbc\xaf\x27\x1c": (FileFormat.SEVEN_ZIP, "7z: unpack it first"),
}


def inspect_serialization(path: Path) -> Serialization:
    """Judge a file by its bytes; nothing in it is executed or unpickled.

    Memory stays within a few times 64 MiB, whatever the file says of itself; an ONNX
    model is read as a whole, up to 2 GiB.

    Returns
    -------
    Serialization
        ``clean`` only for a format that cannot carry code, or where every part that a
        loader would unpickle, evaluate or open was read to its end and found harmless.

    Raises
    ------
    UnreadableFileError
        If the file is missing or cannot be read.

    Examples
    --------
    >>> import os
    >>> import torch
    >>> from molehunt.provenance import inspect_serialization
    >>> class Evil:
    ...     def __reduce__(self):
    ...         return os.system, ("id",)
    >>> torch.save({"weight": torch.zeros(2), "more": Evil()}, "evil.pt")
    >>> found = inspect_serialization("evil.pt")
    >>> print(found.state, "posix.system" in found.detail)
    unsafe True
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            found = _inspect(stream, path)
            others = []
            if found.state is SerializationState.CLEAN:
                others = find_other_readers(stream, found.format)
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror or error}") from error
    if others:
        detail = f"{' and '.join(others)} as well, so that readers could disagree on it"
        return Serialization(found.format, SerializationState.UNKNOWN, detail)
    return found


def _inspect(stream: IO[bytes], path: Path) -> Serialization:
    head = stream.read(_HEAD)
    if starts_like_safetensors(head):
        judged = judge_safetensors(path)
        return Serialization.of(FileFormat.SAFETENSORS, judged)
    if head[:4] == b"PK\x03\x04" or has_end_record(stream):
        return _inspect_zip(stream)
    return _inspect_stream(stream, path, head)


def _inspect_zip(stream: IO[bytes]) -> Serialization:
    try:
        archive = open_archive(stream)
    except UnreadContentError as error:
        return Serialization(FileFormat.ZIP, SerializationState.UNKNOWN, str(error))
    root = archive.root()
    names = {item.name.removeprefix(root) for item in archive.members}
    file_format, judged = _judge_archive(archive, root, names)
    if judged.state is not SerializationState.UNSAFE and archive.problems:
        judged = judge_unknown(archive.problems[0], judged.names)
    return Serialization.of(file_format, judged)


def _judge_archive(archive: Archive, root: str, names: set[str]) -> tuple[FileFormat, Judgement]:
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return FileFormat.TORCHSCRIPT, unsafe("carries a program: loading compiles and can run it")
    if "archive_format" in names or any(name.startswith("models/") for name in names):
        return FileFormat.TORCH_EXPORT, judge_exported(archive, root)
    if "data.pkl" in names:
        return FileFormat.TORCH_ZIP, judge_torch_zip(archive, root)
    judged = judge_members(archive, archive.members)
    if "serialized_exported_program.json" in names:
        older = judge_unknown("written by torch.export before 2.8: save it again")
        return FileFormat.TORCH_EXPORT, worst([judged], otherwise=older)
    kind, detail = FileFormat.ZIP, describe_archive(names)
    if {"config.json", "metadata.json"} <= names:
        kind, detail = FileFormat.KERAS, "a model of Keras, which cannot be loaded here"
    elif any(name.endswith(".npy") for name in names):
        kind, detail = FileFormat.NUMPY, "NumPy arrays, which are no model by themselves"
    return kind, worst([judged], Judgement(SerializationState.NOT_SCANNED, detail))


def _inspect_stream(stream: IO[bytes], path: Path, head: bytes) -> Serialization:
    for start, (named, detail) in _NAMED.items():
        if head.startswith(start):
            return Serialization(named, SerializationState.NOT_SCANNED, detail)
    if head[257:262] == b"ustar":
        detail = "tar, perhaps of torch before 0.4: unpack it first"
        return Serialization(FileFormat.TAR, SerializationState.NOT_SCANNED, detail)
    missing = ""
    if may_be_onnx(head):
        try:
            graph = _inspect_graph(path)
        except ImportError:
            missing = '; if it is ONNX, the extra "onnx" reads it'
        else:
            if graph is not None:
                return Serialization.of(FileFormat.ONNX, graph)
    stream.seek(0)
    content = stream.read(LARGEST_PICKLE + 1)
    legacy = judge_torch_legacy(content, path.stat().st_size)
    if legacy is not None:
        return Serialization.of(FileFormat.TORCH_LEGACY, legacy)
    if looks_like_pickle(content) or _names_something(content):
        judged = judge_pickle(content)
        return Serialization.of(FileFormat.PICKLE, judged)
    detail = describe_no_model(head) or f"no format that is known here{missing}"
    return Serialization(FileFormat.UNKNOWN, SerializationState.NOT_SCANNED, detail)


def _inspect_graph(path: Path) -> Judgement | None:
    try:
        model = parse_onnx(path)
    except UnreadContentError as error:
        return judge_unknown(str(error))
    return None if model is None else judge_onnx(model, path.parent)


def _names_something(content: bytes) -> bool:
    """Whether bytes that do not look like a pickle would import something all the same."""
    found = names_in(content)
    if found.dangerous or found.unknown:
        return True
    try:
        names = read_pickle(content).names
    except UnsafeContentError:
        return True
    except UnreadContentError as error:
        names = error.names
    return bool(names.dangerous or names.unknown)
