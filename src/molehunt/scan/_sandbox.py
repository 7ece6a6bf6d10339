"""Files that carry code, run in a child process with limits: only with ``--trust-code``.

The limits stop accidents and clumsy attacks: memory, processor time, no new files, no
answer that is unpickled here. They are no jail: whoever trusts code runs it.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import UnreadableFileError
from molehunt.networks import BlackBox, ModelCard
from molehunt.scan._runtimes import as_logits, in_batches

MEMORY = 8 * 2**30  # bytes of address space, most of it PyTorch's own libraries
PROCESSOR_SECONDS = 600
SECONDS_AN_ANSWER = 120.0
_LARGEST_ANSWER = 2**30
HEADER = struct.Struct("<QII")  # of an answer: bytes that follow, rows, columns
SHAPE = struct.Struct("<IIII")  # of a question: N, C, H, W, before its pixels


def open_trusted(path: Path, card: ModelCard, kind: str) -> BlackBox:
    """Open a TorchScript file (`kind` ``torchscript``) or a pickled module (``pickle``).

    The file's code runs in a child process, which ends with the model.

    Raises
    ------
    UnreadableFileError
        If the child cannot load it.
    """
    child = _Child(path, kind)
    model = BlackBox(as_logits(in_batches(child.answer, None), card.num_classes), card)
    weakref.finalize(model, child.close)
    return model


class _Child:
    """A process that loads a file and answers images over a socket."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        ours, theirs = socket.socketpair()
        ours.settimeout(SECONDS_AN_ANSWER)
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "molehunt.scan._child", str(theirs.fileno()), kind, path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._receive()  # an empty message: the file is loaded

    def answer(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Return the answers [N, K] for images [N, C, H, W]."""
        try:
            self._socket.sendall(SHAPE.pack(*images.shape))
            self._socket.sendall(images.tobytes())
        except OSError as error:
            raise self._ended() from error
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.kill()
        self._process.communicate()

    def _receive(self) -> NDArray[np.float32]:
        try:
            size, rows, columns = HEADER.unpack(received(self._socket, HEADER.size))
            if size != rows * columns * 4 or size > _LARGEST_ANSWER:
                raise self._ended("an answer of impossible size")
            content = received(self._socket, size)
        except (OSError, EOFError) as error:
            raise self._ended() from error
        return np.frombuffer(content, dtype="<f4").reshape(rows, columns)

    def _ended(self, why: str = "") -> UnreadableFileError:
        """Return what to say of a child that failed, and end it."""
        self._process.kill()
        _, written = self._process.communicate()
        last = (written or b"").decode(errors="replace").strip().splitlines()[-1:]
        code = self._process.returncode
        why = why or "".join(last) or f"it ended with code {code}, over a limit or killed"
        return UnreadableFileError(f"{self._path}: fails in its own process: {why:.300}")


def received(connection: socket.socket, size: int) -> bytes:
    """Return exactly `size` bytes; EOFError where the other side ends before."""
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
