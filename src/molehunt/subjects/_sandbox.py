"""Files that carry code, run in a child process with limits: only with ``--trust-code``.

What the child may still do stands in ``docs/loading.md``. Nothing that it sends is unpickled
here; no answer is waited for beyond a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import UnreadableFileError, printable
from molehunt.networks import BlackBox, ModelCard
from molehunt.subjects import _child
from molehunt.subjects._child import FAILED, HEADER, LONGEST_LINE, PROCESSOR_SECONDS, SHAPE
from molehunt.subjects._runtimes import as_logits, in_batches

SECONDS_AN_ANSWER = 120.0
_LARGEST_ANSWER = 100_000  # numbers an image
_KEPT = 4096  # bytes of the child's stderr
_SECONDS_TO_END = 5.0
# What the child gets of the environment: where libraries are, and the language.
_PASSED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


def open_trusted(path: Path, card: ModelCard, kind: str, output: str | None = None) -> BlackBox:
    """Open a TorchScript file (`kind` ``torchscript``) or a pickled module (``pickle``).

    The file's code runs in a child process, which ends with the model. Classes of a pickled
    module are imported from installed packages and ``PYTHONPATH``, never from the current
    folder. Of several outputs `output` names the one that holds the answers.

    Raises
    ------
    UnreadableFileError
        If the child cannot load it.
    """
    child = _Child(path, kind, card.num_classes, output)
    model = BlackBox(as_logits(in_batches(child.answer, None), card.num_classes), card)
    weakref.finalize(model, child.close)
    return model


def import_path() -> list[str]:
    """Return where the child imports from: as here, without the current folder.

    The current folder counts only where ``PYTHONPATH`` names it as an absolute path.
    """
    named = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    named = [part for part in named if Path(part).is_absolute()]
    here = Path.cwd().resolve()
    others = [part for part in sys.path if part and Path(part).resolve() != here]
    return list(dict.fromkeys([*named, *(str(Path(part).absolute()) for part in others)]))


class _Child:
    """A process that loads a file and answers images over a socket."""

    def __init__(self, path: Path, kind: str, classes: int, output: str | None) -> None:
        self._path = path
        self._written = b""
        self._why: str | None = None
        self._folder = tempfile.mkdtemp(prefix="molehunt-")
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        settings = json.dumps([import_path(), classes, output])
        arguments = [theirs.fileno(), os.getpid(), kind, path.absolute(), settings]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", _child.__file__, *map(str, arguments)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=self._environment(),
                start_new_session=True,
            )
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._deadline = time.monotonic() + SECONDS_AN_ANSWER
        try:
            self._receive(0)  # an empty answer: the file is loaded
        except BaseException:
            self.close()
            raise

    def answer(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Return the answers [N, K] for images [N, C, H, W]."""
        if self._why is not None:
            raise self._failure(self._why)
        self._deadline = time.monotonic() + SECONDS_AN_ANSWER
        self._send(SHAPE.pack(*images.shape) + images.astype("<f4").tobytes())
        return self._receive(len(images))

    def close(self) -> None:
        """End the process and all that it started; calling it again does nothing."""
        self._kill()
        self._socket.close()
        self._stderr.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        folder = dict.fromkeys(("HOME", "TMPDIR"), self._folder)
        return {
            **passed,
            **folder,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }

    def _send(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            self._wait(selectors.EVENT_WRITE)
            try:
                left = left[self._socket.send(left[: 1 << 20]) :]
            except BlockingIOError:
                continue
            except OSError:
                self._receive(0)  # it may have said why it ended
                raise self._failure("it ended before its answer") from None

    def _receive(self, count: int) -> NDArray[np.float32]:
        size, rows, columns = HEADER.unpack(self._read(HEADER.size))
        if rows == FAILED and size <= LONGEST_LINE:
            raise self._failure(bytes(self._read(size)).decode(errors="replace"))
        if rows != count or columns > _LARGEST_ANSWER or size != rows * columns * 4:
            raise self._failure(
                f"an answer of impossible size: expected {count} rows of at most "
                f"{_LARGEST_ANSWER} numbers, got {rows} of {columns} in {size} bytes"
            )
        return np.frombuffer(self._read(size), dtype="<f4").reshape(rows, columns)

    def _read(self, size: int) -> bytearray:
        parts = bytearray()
        while len(parts) < size:
            self._wait(selectors.EVENT_READ)
            try:
                part = self._socket.recv(min(size - len(parts), 1 << 20))
            except BlockingIOError:
                continue
            except OSError:
                part = b""
            if not part:
                raise self._failure(self._ending())
            parts += part
        return parts

    def _wait(self, event: int) -> None:
        """Wait until the socket is ready; read the child's stderr meanwhile."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, event)
            selector.register(self._stderr, selectors.EVENT_READ)
            while (left := self._deadline - time.monotonic()) > 0:
                ready = [key.fileobj for key, _ in selector.select(left)]
                if self._stderr in ready and not self._drain():
                    selector.unregister(self._stderr)
                if self._socket in ready:
                    return
        raise self._failure(f"no answer within {SECONDS_AN_ANSWER:.0f} s")

    def _drain(self) -> bool:
        """Keep the end of what the child wrote on stderr; tell whether more may come."""
        try:
            part = os.read(self._stderr.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        self._written = (self._written + part)[-_KEPT:]
        return bool(part)

    def _ending(self) -> str:
        """Say how a child ended that closed its socket without a word."""
        until = time.monotonic() + _SECONDS_TO_END
        # It is not reaped here: its id must stay its own until its group is killed.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while not (ended := os.waitid(os.P_PID, self._process.pid, options)):
            if time.monotonic() > until:
                break
            time.sleep(0.01)
        self._drain()
        self._kill()
        if not ended:
            return "it closed its connection"
        code = self._process.returncode
        if code == -signal.SIGXCPU:
            return f"over {PROCESSOR_SECONDS} s of processor time"
        how = f"exit code {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"
        last = self._written.decode(errors="replace").strip().splitlines()[-1:]
        return f"it ended ({how})" + "".join(f": {line}" for line in last)

    def _failure(self, why: str) -> UnreadableFileError:
        """End the child, and return what to say of it; from now on always the same."""
        self._kill()
        self._why = printable(" ".join(why.split()), 300)
        return UnreadableFileError(f"{self._path}: fails in its own process: {self._why}")

    def _kill(self) -> None:
        if self._process.returncode is None:  # not waited for: the id is still its own
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_SECONDS_TO_END)
