"""How long the command line takes to start, beside importing torch alone."""

from __future__ import annotations

import subprocess
import sys
import time

RUNS = 3


def run() -> str:
    """Time ``--help``, a usage error and ``import torch`` in turn, each in a process of its own."""
    commands = {
        "help": ["-m", "molehunt", "--help"],
        "a usage error": ["-m", "molehunt", "scan", "--no-such-flag"],
        "torch": ["-c", "import torch"],
    }
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(RUNS):
        for name, arguments in commands.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
            best[name] = min(best[name], time.perf_counter() - started)
    return ", ".join(
        f"{name} {best[name]:.2f} s ({best['torch'] / best[name]:.1f}x faster than import torch)"
        for name in ("help", "a usage error")
    )
