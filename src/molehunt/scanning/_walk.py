"""Which files of a folder are looked at, and what becomes of the others: nothing is silent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from molehunt.errors import UnreadableFileError, mismatch
from molehunt.subjects import is_index, without_shards

# Names that say "this is a model": such a file is judged, whatever is in it.
MODEL_SUFFIXES = frozenset(
    {
        *(".safetensors", ".pt", ".pth", ".pt2", ".bin", ".pkl", ".pickle", ".ckpt", ".onnx"),
        *(".torchscript", ".ptl", ".t7", ".th", ".joblib", ".dill", ".h5", ".hdf5", ".keras"),
        *(".npy", ".npz", ".mar", ".tflite", ".gguf", ".ggml", ".pb", ".mlmodel", ".model"),
    }
)


@dataclass(frozen=True)
class Candidate:
    """A file that a scan was pointed at.

    Parameters
    ----------
    path : Path
    named : bool
        Whether the user or its own name says that it is a model. Any other file is judged
        if its content is of a model format.
    passed_over : str
        Why it is not looked at; empty where it is.
    """

    path: Path
    named: bool = True
    passed_over: str = ""


def find_candidates(paths: Sequence[str | Path]) -> list[Candidate]:
    """Return every file below the given paths, hidden ones too: content decides later.

    Links to files are followed while they stay inside the folder, or lead from a snapshot of
    a Hugging Face cache to its blobs. Other links, pipes, devices and folders that cannot be
    read are returned with the reason why they are passed over. Shards are left to their index.

    Raises
    ------
    UnreadableFileError
        If a path does not exist, or a folder has no file.

    Examples
    --------
    >>> [found.named for found in find_candidates([__file__])]
    [True]
    """
    found: list[Candidate] = []
    for path in map(Path, paths):
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:
            message = getattr(error, "strerror", None) or error
            raise UnreadableFileError(f"{path}: {message}") from error
        if stat.S_ISDIR(mode):
            inside = sorted(_walk(path), key=lambda each: each.path)
            if not inside:
                raise UnreadableFileError(mismatch(f"{path}: files", "at least one", "none"))
            found += inside
        else:
            found.append(Candidate(path))
    kept = set(without_shards(each.path for each in found))
    return [each for each in found if each.path in kept]


def _walk(folder: Path) -> Iterator[Candidate]:
    unread: list[Candidate] = []

    def note(error: OSError) -> None:
        place = Path(os.fsdecode(error.filename or folder))
        unread.append(Candidate(place, passed_over=f"cannot be read: {error.strerror}"))

    root = folder.resolve()
    for parent, folders, names in os.walk(folder, onerror=note):
        for name in [*names, *(each for each in folders if (Path(parent) / each).is_symlink())]:
            place = Path(parent) / name
            yield Candidate(place, _names_a_model(place), reason_to_pass(place, root))
    yield from unread


def _names_a_model(path: Path) -> bool:
    return is_index(path) or any(suffix.lower() in MODEL_SUFFIXES for suffix in path.suffixes[-2:])


def reason_to_pass(place: Path, root: Path) -> str:
    """Return why a file is not looked at; empty where it is."""
    try:
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            target = place.resolve(strict=True)
            mode = target.stat().st_mode
            if stat.S_ISDIR(mode):
                return "a link to a folder; name the folder to have it scanned"
            if not _belongs(place, target, root):
                return f"a link out of the folder, to {target}; name the file to have it scanned"
    except (OSError, RuntimeError) as error:  # leads nowhere, or in a circle
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return "" if stat.S_ISREG(mode) else "a pipe, a socket or a device"


def _belongs(place: Path, target: Path, root: Path) -> bool:
    """Whether a link stays inside the folder, or leads to the blobs of its hub repository."""
    if target.is_relative_to(root):
        return True
    parts = place.parent.resolve().parts
    if "snapshots" not in parts:
        return False
    repository = Path(*parts[: len(parts) - 1 - parts[::-1].index("snapshots")])
    return target.is_relative_to(repository / "blobs")
