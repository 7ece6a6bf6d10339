"""Bounds on memory and processor time of the process that holds a stranger's file.

Time is the processor's, never the clock's: a busy machine gives the same verdict.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

_GIB = 2**30
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Limits:
    """What one subject may take before it counts as failed.

    Parameters
    ----------
    opening_memory : int
        Bytes beyond what the program itself takes, until the first answers; `copies` times
        the size of the file comes on top.
    opening_seconds : float
        Of processor time, until the first answers; one second for every ten megabytes of the
        file comes on top.
    memory : int
        Bytes beyond what the program itself takes, while the checks run.
    seconds : float
        Of processor time, for all checks together.
    """

    opening_memory: int = _GIB
    opening_seconds: float = 12.0
    memory: int = 8 * _GIB
    seconds: float = 4 * 3600.0
    copies: int = 6

    def bound_opening(self, size: int) -> None:
        """Bound this process while it opens a file of `size` bytes."""
        _bound_memory(self.opening_memory + self.copies * size)
        _bound_processor(self.opening_seconds + size / 10e6)

    def bound_checks(self, subjects: int, size: int) -> None:
        """Bound this process while it runs the checks of so many subjects."""
        _bound_memory(self.memory + self.copies * size)
        _bound_processor(self.seconds * subjects)


def die_with_parent() -> None:
    """Let the kernel end this process when its parent ends, where it can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _bound_memory(more: int) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _lower(resource.RLIMIT_AS, taken + more)


def _bound_processor(more: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + more) + 1)


def _lower(kind: int, value: int) -> None:
    """Set the soft limit, so that a later phase may have another one."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, hard))
