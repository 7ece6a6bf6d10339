"""Manifests: the SHA-256 of every file in a folder, and what differs from it."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from molehunt.errors import (
    InvalidRequestError,
    OutputError,
    UnreadableFileError,
    from_validation,
    mismatch,
    printable,
)
from molehunt.files import read_bytes, sha256_of, write_text
from molehunt.provenance._folder import (
    FOLDER_SIGNATURE,
    check_exists,
    list_folder,
    name_inside,
    what_to_do,
)
from molehunt.provenance._result import Provenance, ProvenanceState, count_of, differing, name_some

MANIFEST_NAME = "molehunt.manifest.json"

_LARGEST_MANIFEST = 64 * 2**20  # bytes; half a million files
_LONGEST_NAME = 4096  # characters, as of paths
# What most names are; asking `pathlib` takes ten times as long.
_PART = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_PLAIN_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_SHA256 = r"^[0-9a-f]{64}$"


def _inside(path: str) -> str:
    """Return `path` if it names a file below a folder, on any system."""
    if len(path) > _LONGEST_NAME:
        allowed = f"at most {_LONGEST_NAME} characters"
        raise ValueError(mismatch("file name", allowed, f"{len(path)}"))
    if _PLAIN_NAME.fullmatch(path):
        return path
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    if (
        str(posix) != path
        or path == "."
        or posix.is_absolute()
        or windows.anchor
        or ".." in posix.parts + windows.parts
        or "\0" in path
    ):
        got = printable(repr(path), 80)
        raise ValueError(mismatch("file name", "a relative path without '..'", got))
    return path


class ManifestEntry(BaseModel):
    """Size in bytes and SHA-256 of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)


class Manifest(BaseModel):
    """What a folder holds: POSIX paths relative to it, each with size and SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    files: dict[Annotated[str, AfterValidator(_inside)], ManifestEntry]


def write_manifest(folder: Path, path: Path | None = None) -> Manifest:
    """Write the manifest of a folder: JSON, sorted, the same bytes for the same files.

    Two files are left out: the manifest itself, and ``model.sig`` at the top.

    Parameters
    ----------
    folder : Path
    path : Path, optional
        Where to write; ``molehunt.manifest.json`` in the folder when not given.

    Raises
    ------
    UnreadableFileError
        If the folder or a file cannot be read, or it holds something else than files,
        such as a link that leads out of it.
    InvalidRequestError
        If a file's name cannot stand in a manifest.
    OutputError
        If `path` cannot be written or holds something else than a manifest.
    """
    path = folder / MANIFEST_NAME if path is None else path
    if path.exists():
        try:
            read_manifest(path)
        except UnreadableFileError as error:
            raise OutputError(f"{path}: is there already and is no manifest") from error
    files, odd = list_folder(folder)
    if odd:
        raise UnreadableFileError(
            f"{folder}: holds what is no file of its own (links out of it, to folders or to "
            f"nothing, devices); {what_to_do(folder, odd)}: {name_some(odd)}"
        )
    left_out = _left_out(folder, path)
    try:
        manifest = Manifest(
            files={
                name: ManifestEntry(size=place.stat().st_size, sha256=sha256_of(place))
                for name, place in files.items()
                if name not in left_out
            }
        )
    except ValidationError as error:
        raise from_validation(error, str(folder)) from error
    except OSError as error:
        raise UnreadableFileError(f"{error.filename}: {error.strerror}") from error
    write_text(path, json.dumps(manifest.model_dump(), indent=1, sort_keys=True) + "\n")
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    UnreadableFileError
        If it is missing, no regular file, larger than 64 MiB, is no manifest, or names a
        file outside of the folder.
    """
    try:
        return Manifest.model_validate_json(read_bytes(path, _LARGEST_MANIFEST))
    except ValidationError as error:
        raise UnreadableFileError(str(from_validation(error, f"{path}: no manifest"))) from error


def verify_manifest(path: Path, manifest: Path) -> Provenance:
    """Compare a folder, or one file of it, with a manifest.

    A single file is looked up by the longest end of its path that is listed.
    The result is worth what the way is worth on which the manifest came.

    Raises
    ------
    UnreadableFileError
        If there is nothing at `path`, or the manifest cannot be read.
    """
    stated = read_manifest(manifest).files
    check_exists(path)
    if path.is_dir():
        try:
            files, odd = list_folder(path)
        except UnreadableFileError as error:
            return Provenance(str(path), ProvenanceState.ERROR, str(error))
        left_out = _left_out(path, manifest) - stated.keys()
        present = {name: place for name, place in files.items() if name not in left_out}
        unchecked = tuple(sorted(files.keys() & {FOLDER_SIGNATURE} - stated.keys()))
    else:
        parts = path.absolute().parts
        endings = ["/".join(parts[start:]) for start in range(1, len(parts))]
        name = next((ending for ending in endings if ending in stated), path.name)
        stated = {name: stated[name]} if name in stated else {}
        present, odd, unchecked = {name: path}, [], ()
    try:
        changed = {
            name
            for name, place in present.items()
            if name in stated
            and (stated[name].size, stated[name].sha256) != (place.stat().st_size, sha256_of(place))
        }
    except OSError as error:
        message = f"{error.filename}: cannot be read: {error.strerror}"
        return Provenance(str(path), ProvenanceState.ERROR, message)
    changed.update(name for name in odd if name in stated)
    added = (present.keys() | set(odd)) - stated.keys()
    missing = stated.keys() - present.keys() - set(odd)
    if changed or added or missing:
        return differing(
            str(path),
            changed=changed,
            added=added,
            missing=missing,
            unchecked=unchecked,
            advice=what_to_do(path, odd),
        )
    message = f"{count_of(len(stated))} as the manifest states"
    return Provenance(str(path), ProvenanceState.OK, message, unchecked=unchecked)


def verify_digest(path: Path, sha256: str) -> Provenance:
    """Compare one file with a SHA-256.

    Parameters
    ----------
    path : Path
    sha256 : str
        64 hexadecimal digits, in either case, after ``sha256:`` or alone.

    Raises
    ------
    InvalidRequestError
        If `sha256` is no SHA-256, or `path` is a folder.
    UnreadableFileError
        If there is nothing at `path`.
    """
    wanted = sha256.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(_SHA256, wanted):
        raise InvalidRequestError(mismatch("SHA-256", "64 hexadecimal digits", repr(sha256)))
    check_exists(path)
    if path.is_dir():
        raise InvalidRequestError(f"{path}: a folder has no SHA-256; use a manifest")
    try:
        got = sha256_of(path)
    except OSError as error:
        return Provenance(str(path), ProvenanceState.ERROR, f"{path}: {error.strerror}")
    if got == wanted:
        return Provenance(str(path), ProvenanceState.OK, "has the stated SHA-256")
    message = f"the SHA-256 is {got}, not the stated one"
    return Provenance(str(path), ProvenanceState.TAMPERED, message, changed=(path.name,))


def _left_out(folder: Path, manifest: Path) -> set[str]:
    """Return the names in `folder` that its manifest says nothing of."""
    return name_inside(folder.resolve(), manifest) | {FOLDER_SIGNATURE}
