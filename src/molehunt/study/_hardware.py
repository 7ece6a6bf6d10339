"""What machine a figure was measured on, in words."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

import torch


def hardware() -> str:
    """Return the processor, the number of cores, and the GPU where there is one."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{name}, {cores} cores"
    return f"{text}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else text


def peak_memory() -> float:
    """Return the most memory that this process ever held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
