"""Backward pass differentiable approximation (BPDA): another gradient for what hides its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.autograd import Function

from molehunt.errors import UnsuitableSubjectError, mismatch, printable

Approximation = Callable[[Tensor], Tensor]


@runtime_checkable
class Approximable(Protocol):
    """A module that knows a differentiable function close to its own."""

    def approximation(self, inputs: Tensor) -> Tensor:
        """Return about what `forward` gives, of the same shape, with a useful gradient."""
        ...


@contextmanager
def approximate_backward(
    model: nn.Module, approximations: Mapping[str, Approximation] | None = None
) -> Iterator[list[str]]:
    """Let gradients pass through approximations of some modules while all answers stay.

    By Athalye, Carlini and Wagner (2018, section 4.1): forward through the module, backward
    through a function near it.

    Parameters
    ----------
    model : nn.Module
    approximations : mapping, optional
        For the names of modules in `model` (as in `named_modules`) a differentiable function
        of the module's input; ``lambda inputs: inputs`` for the identity. Without it all
        modules that have an `approximation` of their own take part.

    Yields
    ------
    list of str
        The modules that take part.

    Raises
    ------
    UnsuitableSubjectError
        If the model has no module of such a name, or an approximation gives another shape.

    Examples
    --------
    >>> import torch
    >>> class Round(nn.Module):
    ...     def forward(self, inputs):
    ...         return inputs.round()
    >>> model, pixels = nn.Sequential(Round()), torch.tensor([0.3], requires_grad=True)
    >>> with approximate_backward(model, {"0": lambda inputs: 2 * inputs}):
    ...     answers = model(pixels)
    >>> answers.sum().backward()
    >>> answers.tolist(), pixels.grad.tolist()
    ([0.0], [2.0])
    """
    modules = dict(model.named_modules())
    if approximations is None:
        approximations = {
            name: module.approximation
            for name, module in modules.items()
            if isinstance(module, Approximable)
        }
    unknown = [name for name in approximations if name not in modules]
    if unknown:
        known = printable(", ".join(name for name in modules if name))
        raise UnsuitableSubjectError(mismatch("module to approximate", known, repr(unknown[0])))
    hooks = [
        modules[name].register_forward_hook(_replaced_by(approximation, name))
        for name, approximation in approximations.items()
    ]
    try:
        yield list(approximations)
    finally:
        for hook in hooks:
            hook.remove()


def _replaced_by(approximation: Approximation, name: str) -> Callable[..., Tensor]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        close = approximation(inputs[0])
        if close.shape != output.shape:
            got = tuple(close.shape)
            raise UnsuitableSubjectError(
                mismatch(f"approximation of {name}", f"shape {tuple(output.shape)}", got)
            )
        passed: Tensor = _BackwardThrough.apply(output.detach(), close)
        return passed

    return hook


class _BackwardThrough(Function):
    """The first tensor forward, the second's gradient backward."""

    @staticmethod
    def forward(_ctx: Any, exact: Tensor, _close: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]
