"""Work on hostile files in child processes: whatever one of them does, the others go on."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import shutil
import signal
import struct
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from threadpoolctl import threadpool_limits

from molehunt.networks import keep_to_cpu, take_threads
from molehunt.progress import Progress, silent
from molehunt.scanning._limits import die_with_parent

_FRAME = struct.Struct("<cII")  # kind, item, bytes that follow
_LARGEST_FRAME = 2**28
_BEGIN, _DONE, _ALONE, _STEP, _ERROR = b"B", b"D", b"A", b"S", b"E"
_SECONDS_BETWEEN_STEPS = 0.5
_WORDS = {
    signal.SIGXCPU: "needs too much processor time",
    signal.SIGKILL: "was ended: it took too long, or the machine has no memory left",
}


@dataclass(frozen=True)
class Died:
    """How the process that held an item ended without a result, in words."""

    how: str


class Reporter(Protocol):
    """What work on a batch tells of it."""

    def begin(self, item: int, phase: str) -> None:
        """Say what is done now, so that a death can be put into words."""

    def finish(self, item: int, result: bytes) -> None:
        """Give the result of an item."""

    def leave(self, item: int) -> None:
        """Ask for a process of its own for an item."""

    def step(self, done: int, total: int) -> None:
        """Say how far the work on what was begun is."""


class _PipeReporter:
    """Tells a parent process through a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._told = 0.0

    def begin(self, item: int, phase: str) -> None:
        """Say what is done now, so that a death can be put into words."""
        self._send(_BEGIN, item, phase.encode())

    def finish(self, item: int, result: bytes) -> None:
        """Give the result of an item."""
        self._send(_DONE, item, result)

    def leave(self, item: int) -> None:
        """Ask for a process of its own for an item."""
        self._send(_ALONE, item, b"")

    def step(self, done: int, total: int) -> None:
        """Say how far the work on what was begun is; at most a few times a second."""
        now = time.monotonic()
        if now - self._told > _SECONDS_BETWEEN_STEPS:
            self._told = now
            self._send(_STEP, 0, f"{done} {total}".encode())

    def fail(self, message: str) -> None:
        """Say why this process ends."""
        self._send(_ERROR, 0, message.encode(errors="replace"))

    def _send(self, kind: bytes, item: int, content: bytes) -> None:
        data = memoryview(_FRAME.pack(kind, item, len(content)) + content)
        while data:
            data = data[os.write(self._descriptor, data) :]


Work = Callable[[Sequence[int], Path, Reporter], None]


def run_in_children(
    batches: Iterable[Sequence[int]],
    work: Work,
    *,
    workers: int,
    threads: int = 1,
    seconds: float = 24 * 3600.0,
    progress: Progress = silent,
) -> Iterator[tuple[int, bytes | Died]]:
    """Yield a result for every item, as they come; each batch has a process of its own.

    A process is a fork of this one: it has all that is in memory, and nothing that it does
    comes back but the bytes that it reports. An item during which a process died is tried
    once more alone, with a fresh process; only then it counts as died.

    Parameters
    ----------
    batches : iterable of sequences of int
        Numbers of items.
    work : callable
        Called in the child with a batch, a private folder that is removed afterwards, and a
        `Reporter` on which it finishes every item.
    workers : int
        Processes at once.
    threads : int
        Models that a child works on at once, where a check has several: each on one thread of
        torch, for threads of OpenMP do not survive a fork.
    seconds : float
        On the clock, for one process: only what sleeps can reach it.
    progress : callable
        Called with the work done and its total that a child tells of.
    """
    waiting = deque(list(batch) for batch in batches if len(batch))
    running: dict[int, _Child] = {}
    with tempfile.TemporaryDirectory(prefix="molehunt-") as root:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    child = _Child(waiting.popleft(), work, Path(root), threads, seconds, progress)
                    running[child.descriptor] = child
                for child in _ready(running):
                    yield from child.results()
                    if child.ended:
                        del running[child.descriptor]
                        again, died = child.left_over()
                        waiting.extendleft(reversed(again))
                        yield from died
        finally:
            for child in running.values():
                child.kill()


def run_here(
    batches: Iterable[Sequence[int]], work: Work, progress: Progress = silent
) -> Iterator[tuple[int, bytes | Died]]:
    """Yield what `run_in_children` yields, from this process: nothing isolates the items.

    For where CUDA has started: a fork of such a process cannot compute gradients.
    """
    for item in (item for batch in batches for item in batch):
        told = _ListReporter(progress)
        with tempfile.TemporaryDirectory(prefix="molehunt-") as folder:
            try:
                work([item], Path(folder), told)
            except Exception as error:
                yield item, Died(f"{told.phase}: {type(error).__name__}: {error}"[:2000])
                continue
        yield from told.results


class _ListReporter:
    """Keeps what it is told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.phase = "at its start"
        self.results: list[tuple[int, bytes]] = []

    def begin(self, item: int, phase: str) -> None:
        self.phase = phase

    def finish(self, item: int, result: bytes) -> None:
        self.results.append((item, result))

    def leave(self, item: int) -> None:
        raise AssertionError("an item alone needs no other process")

    def step(self, done: int, total: int) -> None:
        self._progress(done, total)


def _ready(running: dict[int, _Child]) -> list[_Child]:
    """Return the children that have something to say, or are to be ended."""
    poll = select.poll()
    for descriptor in running:
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
    found = [running[descriptor] for descriptor, _ in poll.poll(1000)]
    for child in running.values():
        if time.monotonic() > child.deadline:
            child.kill()
            found += [] if child in found else [child]
    return found


@dataclass
class _Child:
    """A forked process with its batch."""

    batch: list[int]
    work: Work
    root: Path
    threads: int
    seconds: float
    progress: Progress
    descriptor: int = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=self.root))
        self._left = list(self.batch)
        self._alone: list[int] = []
        self._current: tuple[int, str] | None = None
        self._error = ""
        self._buffer = bytearray()
        self._status: int | None = None
        self.deadline = time.monotonic() + self.seconds
        self.descriptor, theirs = os.pipe()
        with warnings.catch_warnings():
            # Other threads of this process (a progress bar) hold nothing that the child uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            self._run(theirs)
        os.close(theirs)

    def _run(self, descriptor: int) -> None:
        """Do the work and end the process; the child never returns from here."""
        code = 1
        try:
            os.close(self.descriptor)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
            die_with_parent()
            if not os.environ.get("MOLEHUNT_DEBUG"):
                _silence()
            # CUDA takes more address space than the limits leave.
            keep_to_cpu()
            # The pools of all OpenMP libraries stayed behind in the parent: who waits for one
            # of their threads waits for ever.
            threadpool_limits(limits=1)
            take_threads(self.threads)
            reporter = _PipeReporter(descriptor)
            try:
                self.work(self.batch, self._folder, reporter)
                code = 0
            except BaseException as error:
                reporter.fail(f"{type(error).__name__}: {error}"[:2000])
        finally:
            os._exit(code)

    def results(self) -> Iterator[tuple[int, bytes]]:
        """Yield what the child finished since the last call."""
        part = b"" if self._status is not None else os.read(self.descriptor, 2**20)
        self._buffer += part
        while len(self._buffer) >= _FRAME.size:
            kind, item, size = _FRAME.unpack_from(self._buffer)
            if size > _LARGEST_FRAME or (kind not in (_STEP, _ERROR) and item not in self._left):
                self.kill()  # no work of ours writes that: the file took the process over
                self._error, part = "what it reports is not what a check reports", b""
                break
            if len(self._buffer) < _FRAME.size + size:
                break
            content = bytes(self._buffer[_FRAME.size : _FRAME.size + size])
            del self._buffer[: _FRAME.size + size]
            if kind == _BEGIN:
                self._current = item, content.decode(errors="replace")
            elif kind == _STEP:
                self._tell_step(content)
            elif kind == _ERROR:
                self._error = content.decode(errors="replace")
            else:
                self._left.remove(item)
                if kind == _DONE:
                    yield item, content
                else:
                    self._alone.append(item)
        if not part:
            self._end()

    def _tell_step(self, content: bytes) -> None:
        done, _, total = content.partition(b" ")
        if done.isdigit() and total.isdigit():
            self.progress(int(done[:18]), int(total[:18]))

    def kill(self) -> None:
        """End the process and wait for it."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._end()

    def left_over(self) -> tuple[list[list[int]], list[tuple[int, Died]]]:
        """Return the batches to try again, and the items that are lost."""
        again = [[item] for item in self._alone]
        if len(self.batch) == 1:
            return again, [(item, Died(self._how())) for item in self._left]
        return again + [[item] for item in self._left], []

    def _end(self) -> None:
        if self._status is None:
            _, self._status = os.waitpid(self._pid, 0)
            os.close(self.descriptor)
            shutil.rmtree(self._folder, ignore_errors=True)
        self.ended = True

    def _how(self) -> str:
        phase = self._current[1] if self._current else "at its start"
        if self._error:
            return f"{phase}: {self._error}"
        assert self._status is not None
        if os.WIFSIGNALED(self._status):
            number = signal.Signals(os.WTERMSIG(self._status))
            crashed = f"crashes the process that holds it ({number.name})"
            return f"{_WORDS.get(number, crashed)} {phase}"
        return f"ends the process that holds it {phase}"


def _silence() -> None:
    """Let nothing that libraries print reach the terminal: findings say what there is to say."""
    faulthandler.disable()
    with Path(os.devnull).open("r+b") as nothing:
        for descriptor in (0, 1, 2):
            os.dup2(nothing.fileno(), descriptor)
