"""One private copy of a stranger's file: what is hashed is what is inspected and loaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from molehunt.errors import UnreadableFileError
from molehunt.files import open_regular

_CHUNK = 2**22


@dataclass(frozen=True)
class PrivateCopy:
    """A copy that nobody else writes, and the digest of its bytes."""

    path: Path
    sha256: str
    size: int


def copy_privately(path: Path, folder: Path) -> PrivateCopy:
    """Copy a file into a private folder in one reading, and hash what was copied.

    Whatever happens to the original afterwards changes nothing. Holes stay holes.

    Raises
    ------
    UnreadableFileError
        If it is no regular file, cannot be read, or there is no room for it.
    """
    target = folder / path.name
    digest = hashlib.sha256()
    size = 0
    with open_regular(path) as source:
        try:
            with target.open("xb") as copy:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    if chunk.count(0) == len(chunk):
                        copy.seek(len(chunk), os.SEEK_CUR)
                    else:
                        copy.write(chunk)
                copy.truncate(size)
        except OSError as error:
            message = error.strerror or error
            raise UnreadableFileError(f"{path}: no private copy can be made: {message}") from error
    return PrivateCopy(target, digest.hexdigest(), size)


def copy_companions(names: Iterable[str], origin: Path, folder: Path) -> list[PrivateCopy]:
    """Copy the files that a model's file names beside it; one that is not there is left out.

    Parameters
    ----------
    names : iterable of str
        Relative to `origin`, each inside it.
    origin, folder : Path
        Where the model came from, and the private folder that holds its copy.

    Raises
    ------
    UnreadableFileError
        If a file is there and cannot be copied, or is a link out of its folder.
    """
    root = origin.resolve()
    copies = []
    for name in names:
        path = origin / name
        if not path.exists():
            continue  # who opens the model says that it is missing
        if not path.resolve().is_relative_to(root):
            raise UnreadableFileError(f"{path}: leads out of the folder of the model")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copies.append(copy_privately(path, target.parent))
    return copies
