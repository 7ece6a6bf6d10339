"""Run work in a process group of its own, and see what it must never do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20.0  # of processor time, for a file
_PATIENCE = 120.0  # on the clock: what sleeps takes no processor time
_MEMORY = 2 * 2**30  # bytes, of the whole group
_CODES = {0, 1, 2, 3, 4}


@dataclass(frozen=True)
class Watched:
    """What was wrong with a run, if anything, and the end of what it printed."""

    faults: tuple[str, ...]
    printed: str


def watch(work: Callable[[], int], *, files: int = 1) -> Watched:
    """Run `work` in a forked process; its result is the exit code.

    `files` is how many files it reads: as many may take a little more time.
    """
    seconds = SECONDS + 2.0 * (files - 1)
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.close(read)
        _work(work, write)
    os.close(write)
    os.set_blocking(read, False)
    printed, faults = bytearray(), []
    started, most = time.monotonic(), 0
    while True:
        with contextlib.suppress(BlockingIOError):
            printed += os.read(read, 2**20)
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        most = max(most, memory_of(child))
        if time.monotonic() - started > _PATIENCE + seconds and not faults:
            faults.append("hangs")
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)
    with contextlib.suppress(BlockingIOError):
        while part := os.read(read, 2**20):
            printed += part
    os.close(read)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # whatever it left behind
    code = os.waitstatus_to_exitcode(status)
    text = printed.decode(errors="replace")
    if code not in _CODES and "hangs" not in faults:
        faults.append(f"exit code {code}")
    if most > _MEMORY:
        faults.append(f"{most / 2**30:.1f} GiB")
    taken = usage.ru_utime + usage.ru_stime
    if taken > seconds:
        faults.append(f"{taken:.0f} s of processor time")
    for mark, fault in (
        ("Traceback (most recent call last)", "a traceback"),
        ("internal error", "internal error"),
        ("\x1b", "raw escapes"),
    ):
        if mark in text:
            faults.append(fault)
    return Watched(tuple(faults), text[-2000:])


def _work(work: Callable[[], int], descriptor: int) -> None:
    """Do the work and end the process; never returns."""
    code = 99
    try:
        os.setsid()
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 255)


def memory_of(group: int) -> int:
    """Return the bytes that a process group holds; what its members share counts once."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == group:
                said = re.search(r"^Pss:\s+(\d+)", (folder / "smaps_rollup").read_text(), re.M)
                total += 1024 * int(said[1]) if said else 0
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile
    return total
