"""Writing files whole or not at all, and naming their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError

from molehunt.errors import OutputError, UnreadableFileError, mismatch


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`.

    A reader sees the old file or the new one, never half of one, also after a kill. The new
    file has the old one's mode. A pipe or a device is written to and stays what it is.

    Raises
    ------
    OutputError
        If the folder cannot be written, or the disk is full.
    """
    make_folder(path.parent)
    through = path.exists() and not path.is_file()
    folder = None if through else path.parent
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=folder)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        if through:
            with path.open("wb") as target:
                target.write(temporary.read_bytes())
        else:
            temporary.chmod(_mode_for(path))
            temporary.replace(path)
    except (OSError, SafetensorError) as error:  # a full disk is the latter's own error
        message = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(f"{path}: cannot be written: {message}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _mode_for(path: Path) -> int:
    """Return the mode of the file there is, else what the user's umask leaves."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def check_replaceable(path: Path, what: str, marks: Sequence[bytes]) -> None:
    """Refuse to replace a file that is no earlier output of the same kind.

    Parameters
    ----------
    path : Path
        Where an output will go; a missing or empty file, a pipe and a device are fine.
    what : str
        The kind, for the message.
    marks : sequence of bytes
        All of them stand in the first bytes of such a file; the first one opens it.

    Raises
    ------
    OutputError
        If the file holds something else.
    """
    if not path.is_file():
        if path.is_dir():
            raise OutputError(mismatch(f"{path}", f"a file for {what}", "a folder"))
        return
    with open_regular(path) as stream:
        head = stream.read(2**16)
    if head and not (head.startswith(marks[0]) and all(mark in head for mark in marks)):
        raise OutputError(
            f"{path}: holds something else than {what} and is not replaced; name another file"
        )


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Create the folder `path` with its parents.

    Raises
    ------
    OutputError
        If it cannot be created or is not a folder that can be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made a folder: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: folder cannot be written: Permission denied")


def open_regular(path: Path) -> BinaryIO:
    """Open a file that a stranger named, for reading; pipes and devices are refused.

    Opening never waits, whatever the path is. Links are followed.

    Raises
    ------
    UnreadableFileError
        If the file is missing, cannot be read, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise UnreadableFileError(mismatch(f"{path}", "a regular file", _kind(mode)))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, ValueError) as error:
        message = getattr(error, "strerror", None) or error
        raise UnreadableFileError(f"{path}: cannot be read: {message}") from error


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a file that a stranger named, of at most `most` bytes.

    Raises
    ------
    UnreadableFileError
        As `open_regular`, and if the file is larger.
    """
    with open_regular(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise UnreadableFileError(mismatch(f"{path}: size", f"at most {most} bytes", "more"))
    return content


def _kind(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
        stat.S_ISSOCK: "a socket",
    }
    return next((name for test, name in kinds.items() if test(mode)), "something else")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
