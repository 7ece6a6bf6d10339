"""Networks as a user would write them, for files that strangers wrote."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import Any

import torch
from torch import nn


class Small(nn.Module):
    """Two layers and batch normalisation."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, bias=False)
        self.bn = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.bn(self.conv(x)).relu().mean((2, 3)))


class Wrapped(nn.Module):
    """The same inside a LightningModule's habit."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.model = Small(num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class TiedHeads(nn.Module):
    """One convolution under two names."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1)
        self.second = self.first
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.second(self.first(x)).flatten(1))


class Untied(TiedHeads):
    """What a loader builds that does not know of the tie."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__(num_classes)
        self.second = nn.Conv2d(1, 1, 3, padding=1)


class Renamed(Small):
    """Reads files in which its last layer had another name."""

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        for kind in ("weight", "bias"):
            if f"{prefix}head.{kind}" in state:
                state[f"{prefix}fc.{kind}"] = state.pop(f"{prefix}head.{kind}")
        super()._load_from_state_dict(state, prefix, *rest)


class OneLogit(nn.Module):
    """A single output."""

    def __init__(self, squash: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 1)
        self.squash = squash

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.fc(x.flatten(1))
        return z.sigmoid() if self.squash else z


def open_ended(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """As timm's factories."""
    return Small(**kwargs)


def other_name(n_classes: int = 7) -> nn.Module:
    """A factory with another word for it."""
    return Small(n_classes)


def without_classes(**kwargs: Any) -> nn.Module:
    """A factory that takes settings, but no number of classes."""
    return _nine(**kwargs)


def _nine(out: int = 9) -> nn.Module:
    return Small(out)


run = subprocess.run
almost = partial(Small, num_classes=4)
not_a_class = Small()


def huge_layer() -> nn.Module:
    """A layer of 1.6 GB in single precision."""
    return nn.Sequential(nn.Linear(20_000, 20_000))
