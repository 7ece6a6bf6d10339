"""API keys: who asks, without a key in any file."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from molehunt.errors import InvalidRequestError, OutputError, UnreadableFileError, mismatch
from molehunt.files import read_bytes, write_text

_LARGEST_FILE = 4 * 2**20
_MOST_KEYS = 20_000
_NAME = re.compile(r"[\w.@-]{1,100}", re.ASCII)
_LINE = re.compile(r"(\S+) sha256:([0-9a-f]{64})( metrics)?")
_BYTES = 32  # of a key: nobody guesses it, so that one plain hash protects it


@dataclass(frozen=True)
class Keys:
    """Hashes of API keys, and whose they are.

    Parameters
    ----------
    names : tuple of str
        Accounts, one a key; an account may have several.
    hashes : tuple of bytes
        SHA-256 of each key.
    metrics : frozenset of str
        Accounts that may read the metrics and ask nothing else.
    """

    names: tuple[str, ...]
    hashes: tuple[bytes, ...]
    metrics: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of lines ``NAME sha256:HEX [metrics]``; empty lines and ``#`` are skipped.

        Raises
        ------
        UnreadableFileError
            If it cannot be read, holds another line, or no key.
        """
        names, hashes, metrics = [], [], set()
        text = read_bytes(path, _LARGEST_FILE).decode(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None or not _NAME.fullmatch(match[1]):
                # Not shown: the line may be a key itself.
                raise UnreadableFileError(
                    f"{path}: line {number}: expected NAME sha256:HEX or NAME sha256:HEX metrics"
                )
            names.append(match[1])
            hashes.append(bytes.fromhex(match[2]))
            if match[3]:
                metrics.add(match[1])
        if not 1 <= len(names) <= _MOST_KEYS:
            raise UnreadableFileError(mismatch(f"{path}: keys", f"1 to {_MOST_KEYS}", len(names)))
        return cls(tuple(names), tuple(hashes), frozenset(metrics))

    def find(self, key: str) -> str | None:
        """Return the account of a key, or None; the time says nothing of where it fails.

        Examples
        --------
        >>> keys = Keys(("ann",), (hashlib.sha256(b"secret").digest(),))
        >>> keys.find("secret"), keys.find("secres")
        ('ann', None)
        """
        digest = hashlib.sha256(key.encode()).digest()
        table = np.frombuffer(b"".join(self.hashes), np.uint8).reshape(-1, len(digest))
        # All bytes of all hashes are compared, whatever is found.
        differing = (table ^ np.frombuffer(digest, np.uint8)).sum(axis=1)
        place = int(differing.argmin())
        return None if differing[place] else self.names[place]


def new_key(name: str, path: Path, *, metrics: bool = False) -> str:
    """Make a key for an account, and add its hash to the file at `path`.

    Parameters
    ----------
    name : str
        Of the account: letters, digits, and ``. _ @ -``.
    path : Path
        Made if it is missing, for its owner's eyes only.
    metrics : bool
        Whether the key reads the metrics, and asks nothing else.

    Returns
    -------
    str
        The key, which is stored nowhere.

    Raises
    ------
    InvalidRequestError
        If the name has other characters, or means both kinds of account.
    UnreadableFileError, OutputError
        If the file holds something else, or cannot be written.
    """
    if not _NAME.fullmatch(name):
        allowed = "1 to 100 letters, digits, or . _ @ -"
        raise InvalidRequestError(mismatch("account's name", allowed, repr(name[:120])))
    text = ""
    if path.exists():
        known = Keys.read(path)
        if name in known.names and (name in known.metrics) != metrics:
            raise InvalidRequestError(
                mismatch(f"account {name}", "a key of its kind (`metrics`)", "the other kind")
            )
        text = read_bytes(path, _LARGEST_FILE).decode(errors="replace")
        text += "" if text.endswith("\n") else "\n"
    else:
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    key = secrets.token_urlsafe(_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    write_text(path, f"{text}{name} sha256:{digest}{' metrics' if metrics else ''}\n")
    return key
