"""The one-cycle schedule, also for trainings of a few steps."""

from __future__ import annotations

import torch


def one_cycle(
    optimizer: torch.optim.Optimizer, peaks: list[float], steps: int, warmup: float
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Return a schedule over `steps` steps that peaks after the share `warmup` of them.

    `peaks` has one learning rate a parameter group.
    """
    # torch's schedule divides by the lengths of its two phases, so neither may be empty.
    total = max(steps, 3)
    share = min(max(warmup, 1.5 / total), 1 - 1 / total)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=total, pct_start=share)
