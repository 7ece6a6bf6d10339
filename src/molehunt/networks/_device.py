"""Which device to compute on, and at which precision."""

from __future__ import annotations

import os
from typing import Literal

import torch
from torch import nn

from molehunt.errors import InvalidRequestError, mismatch

Precision = Literal["auto", "float32", "bfloat16"]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; ``auto`` is CUDA where there is one, else the CPU.

    Raises
    ------
    InvalidRequestError
        If there is no such device here.
    """
    if name == "cpu":
        return torch.device(name)
    usable = _cuda_is_usable()
    if name == "auto":
        return torch.device("cuda" if usable else "cpu")
    cards = [f"cuda:{number}" for number in range(torch.cuda.device_count() if usable else 0)]
    if name not in cards and not (name == "cuda" and usable):
        allowed = ", ".join(["auto", "cpu", *cards])
        raise InvalidRequestError(mismatch("device", allowed, repr(name)))
    return torch.device(name)


def keep_to_cpu() -> None:
    """Let this process see no GPU from here on.

    The environment alone is not enough for a forked process: torch remembers how many GPUs
    the process that it was forked from has seen.
    """
    global _keeps_to_cpu  # noqa: PLW0603
    _keeps_to_cpu = True
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


_keeps_to_cpu = False


def take_threads(count: int) -> None:
    """Let this process work on so many models at once, each on one thread of torch.

    For a forked process: the threads that torch computes on together stayed behind in its
    parent, and who waits for one of them waits for ever.
    """
    global _taken  # noqa: PLW0603
    _taken = count
    torch.set_num_threads(1)


def threads_to_take() -> int:
    """Return how many threads this process may compute on."""
    return _taken or torch.get_num_threads()


_taken = 0


def _cuda_is_usable() -> bool:
    # A process that was forked after CUDA had started cannot use it.
    usable = torch.cuda.is_available() and not torch.cuda._is_in_bad_fork()
    return usable and not _keeps_to_cpu


def bfloat16_helps(network: nn.Module, device: torch.device) -> bool:
    """Tell whether bfloat16 autocast is expected to be faster.

    The CPU needs the instructions for it; depthwise convolutions are slower with it
    there (measured: 2x on ShuffleNet and MobileNet). Code of strangers may not know it.
    """
    return _has_fast_bfloat16(network, device) and getattr(network, "takes_bfloat16", True)


def _has_fast_bfloat16(network: nn.Module, device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups > 1 for m in network.modules())
    # Older versions of torch cannot tell; then float32 is the safe answer.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return bool(fast) and not depthwise


def autocast_of(precision: Precision, network: nn.Module, device: torch.device) -> torch.autocast:
    """Return a precision as a context to compute in."""
    half = precision == "bfloat16" or (precision == "auto" and bfloat16_helps(network, device))
    return torch.autocast(device.type, torch.bfloat16, enabled=half)
