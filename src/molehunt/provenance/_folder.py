"""What a folder holds, looked at without opening or following anything that leads out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from molehunt.errors import UnreadableFileError, mismatch, printable

# Where the signature of a folder lies by custom. Manifests leave it out: it is written after
# them as a rule, and any change of it breaks it.
FOLDER_SIGNATURE = "model.sig"


def check_exists(path: Path) -> None:
    """Refuse a path where there is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnreadableFileError(mismatch(str(path), "a file or a folder", "neither"))


def what_to_do(folder: Path, odd: Iterable[str]) -> str:
    """Return what the user can do about names that `list_folder` found odd; empty if nothing.

    A hub's cache holds links to files that lie elsewhere.
    """
    ways = set()
    for name in odd:
        place = folder / name
        if not place.is_symlink():
            ways.add("take pipes and devices out of the folder")
        elif not place.exists():
            ways.add("take links that lead to nothing out of the folder")
        else:
            ways.add(
                f"follow the links into a copy (cp -rL {printable(folder)} COPY; from the hub: "
                "hf download REPO --local-dir COPY) and name the copy"
            )
    return "; ".join(sorted(ways))


def is_file(path: Path) -> bool:
    """Return whether a path, however strange, leads to a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def list_folder(folder: Path, *, links: bool = True) -> tuple[dict[str, Path], list[str]]:
    """Return a folder's files, and the names of what is none of its own.

    Links to folders are not entered. Nothing is opened.

    Parameters
    ----------
    folder : Path
    links : bool
        Whether a link to a file inside the folder counts as a file.

    Returns
    -------
    files : dict of str to Path
        By POSIX path relative to the folder, sorted.
    odd : list of str
        Links that lead out of the folder, to a folder or to nothing; pipes and devices.

    Raises
    ------
    UnreadableFileError
        If it is no folder, or a folder in it cannot be read.
    """
    root = folder.resolve()
    files: dict[str, Path] = {}
    odd: list[str] = []
    try:
        for parent, folders, names in os.walk(folder, onerror=_raise):
            linked = [name for name in folders if (Path(parent) / name).is_symlink()]
            for name in [*names, *linked]:
                place = Path(parent) / name
                relative = place.relative_to(folder).as_posix()
                if _own_file(place, root, links=links):
                    files[relative] = place
                else:
                    odd.append(relative)
    except OSError as error:
        raise UnreadableFileError(f"{error.filename}: {error.strerror}") from error
    return dict(sorted(files.items())), sorted(odd)


def _own_file(place: Path, root: Path, *, links: bool) -> bool:
    mode = place.lstat().st_mode
    if not stat.S_ISLNK(mode):
        return stat.S_ISREG(mode)
    if not links:
        return False
    try:
        target = place.resolve(strict=True)
    except (OSError, RuntimeError):  # leads nowhere, or in a circle
        return False
    return target.is_file() and target.is_relative_to(root)


def _raise(error: OSError) -> None:
    raise error


def name_inside(folder: Path, file: Path) -> set[str]:
    """Return the name of a file in a folder (resolved), as a set; empty if it lies outside."""
    real = file.resolve()
    if folder.is_dir() and real.is_relative_to(folder):
        return {real.relative_to(folder).as_posix()}
    return set()
