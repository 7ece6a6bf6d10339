"""The one-cycle schedule, also for trainings of a few steps."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


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


@lru_cache(maxsize=256)
def one_cycle_rates(steps: int, warmup: float) -> tuple[Tensor, Tensor]:
    """Return what `one_cycle` sets at each step, float64 [steps] each.

    The learning rates are shares of the peak; the momenta, which are Adam's first beta
    too, run against them.
    """
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0, momentum=0.9)
    schedule = one_cycle(optimizer, [1.0], steps, warmup)
    rates = []
    for _ in range(steps):
        rates.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        schedule.step()
    lr, momentum = torch.tensor(rates, dtype=torch.float64).unbind(1)
    return lr, momentum
