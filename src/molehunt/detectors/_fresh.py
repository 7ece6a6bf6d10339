"""A copy of a model that has its architecture and none of its weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.networks import Access, Classifier


def draw_fresh(model: Classifier, *, seed: int) -> Classifier:
    """Return a copy with freshly drawn weights, ready to be trained, on the CPU.

    Each module draws its own by its ``reset_parameters``. What has none, or keeps what it
    had, gets matrices by Kaiming's rule, scales of 1 and other vectors of 0.

    Parameters
    ----------
    model : Classifier
    seed : int
        Draws the weights; the global generator is left as it was.

    Raises
    ------
    UnsuitableSubjectError
        If the model has no weights to draw.
    """
    if Access.WEIGHTS not in model.gives or Access.GRADIENTS not in model.gives:
        raise UnsuitableSubjectError(
            mismatch("access to the model", "weights and gradients", ", ".join(sorted(model.gives)))
        )
    with torch.no_grad():  # a TorchScript module's copies would be parts of a graph
        twin = copy.deepcopy(model).cpu()
    twin.requires_grad_(False)
    matrices = [p for p in twin.parameters() if p.ndim > 1 and p.is_floating_point()]
    if not matrices:
        raise UnsuitableSubjectError(
            mismatch("weights of the model", "matrices that can be trained", "none")
        )
    before = [p.clone() for p in matrices]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in twin.modules():
            _reset(module)
        for now, then in zip(matrices, before, strict=True):
            if torch.equal(now, then):
                _draw_matrix(now)
    for parameter in twin.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_()
    return twin


def _reset(module: nn.Module) -> None:
    own = dict(module.named_parameters(recurse=False))
    if not own:
        return
    reset = getattr(module, "reset_parameters", None)
    if callable(reset) and not isinstance(module, torch.jit.ScriptModule):
        reset()
        return
    buffers = dict(module.named_buffers(recurse=False))
    for name, buffer in buffers.items():
        if name.startswith("running") or name == "num_batches_tracked":
            buffer.fill_(1 if name == "running_var" else 0)
    for name, parameter in own.items():
        if parameter.ndim > 1:
            _draw_matrix(parameter)
        else:
            parameter.fill_(0 if name.endswith("bias") else 1)


def _draw_matrix(parameter: torch.Tensor) -> None:
    if parameter.ndim > 1 and parameter[0].numel():
        nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
