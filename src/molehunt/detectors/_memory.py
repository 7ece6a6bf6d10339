"""How much memory fitting takes, said before it starts."""

from __future__ import annotations

import resource
from pathlib import Path

import torch
from torch import Tensor

from molehunt.detectors._stacking import chunk_on
from molehunt.networks import Classifier, pick_device

GIB = 2**30
_LIMIT_ON_CPU = 4 * GIB
# Measured on VGG, ResNet and spatial transformers: what a chunk takes while it is at work,
# over what one model alone saves for its backward pass, and over its stacked weights.
_WORK_OVER_SAVED = 2.5
_WORK_OVER_WEIGHTS = 1.3
_CHANGED_WEIGHTS = 1.0
_IMPORTED_LATER = 50 * 2**20  # by the first vectorised call


def memory_limit(device: str = "auto") -> int:
    """Return how many bytes fitting may take when nobody said: 4 GiB, on CUDA what is free.

    Raises
    ------
    InvalidRequestError
        If there is no such device here.
    """
    chosen = pick_device(device)
    if chosen.type == "cuda":
        return int(torch.cuda.mem_get_info(chosen)[0])
    return _LIMIT_ON_CPU


def memory_of_stacks(
    model: Classifier, count: int, n_patterns: int, device: torch.device, *, changes: int
) -> int:
    """Return the bytes that `count` models like `model` take, stacked, and one chunk at work.

    On the CPU it is what the whole process will take, on CUDA what is taken there. `changes`
    is how often the weights are copied to be changed at a step: by dropout, by augmentation.
    """
    weights = sum(int(tensor.nbytes) for tensor in model.state_dict().values())
    chunk = min(count, chunk_on(device))
    copies = _WORK_OVER_WEIGHTS + _CHANGED_WEIGHTS * changes
    work = chunk * (copies * weights + _WORK_OVER_SAVED * _saved_for_backward(model, n_patterns))
    present = 0 if device.type == "cuda" else _resident() + _IMPORTED_LATER
    return present + count * weights + int(work)


def _saved_for_backward(model: Classifier, n_patterns: int) -> int:
    """Return the bytes of activations that autograd keeps of one forward pass."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(model.parameters(), torch.empty(0)).device
    patterns = torch.zeros(n_patterns, *model.card.input_shape, device=device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answers = model(patterns)  # holds what was saved, so that no address comes twice
    for tensor in (*model.parameters(), *model.buffers()):
        seen.pop(tensor.untyped_storage().data_ptr(), None)
    del answers
    return sum(seen.values())


def _resident() -> int:
    """Return the bytes of memory that this process holds."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # macOS: the most that it ever held, which is in bytes there
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return pages * resource.getpagesize()
