"""Which of the things that a network returns are its answers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from molehunt.errors import UnsuitableSubjectError, mismatch, printable

_DEEPEST = 5
_MOST = 64  # outputs that are looked at; a list may be endless
_SHOWN = 8


def logits_in(answer: Any, num_classes: int, output: str | None = None) -> Tensor:
    """Return the answers [N, K] in what a network returned.

    Tensors [N, K, 1, 1] count as [N, K]. Where several have the shape, the one that is named
    ``logits`` is taken.

    Parameters
    ----------
    answer
        A tensor, or tensors in tuples, lists, dicts (Hugging Face's outputs are some) and
        dataclasses, also nested.
    num_classes : int
        K.
    output : str, optional
        Which one the user chose: its name, or its place counted from 0; the parts of a nested
        one with dots between them. A lone tensor has no name and is taken.

    Raises
    ------
    UnsuitableSubjectError
        If none has the shape, or if it is not clear which; the message lists all outputs.

    Examples
    --------
    >>> import torch
    >>> logits_in({"logits": torch.zeros(2, 10), "features": torch.zeros(2, 64)}, 10).shape
    torch.Size([2, 10])
    """
    if isinstance(answer, Tensor):
        if _is_answer(answer, num_classes):
            return _flat(answer)
        allowed = f"numbers [N, {num_classes}], one a class and image"
        raise UnsuitableSubjectError(
            mismatch("shape of the model's answers", allowed, list(answer.shape))
        )
    outputs = dict(itertools.islice(named_tensors(answer), _MOST))
    shapes = {name: tensor.shape for name, tensor in outputs.items()}
    return _flat(outputs[choose_output(shapes, num_classes, output, got=type(answer).__name__)])


def choose_output(
    shapes: Mapping[str, Any], num_classes: int, output: str | None = None, *, got: str = "none"
) -> str:
    """Return the name of the output that holds the answers.

    Parameters
    ----------
    shapes : mapping of str to sizes
        Of each output, in order; a size that is open is no int.
    num_classes, output
        As in `logits_in`.
    got : str
        What there was, where there is no output at all.

    Raises
    ------
    UnsuitableSubjectError
        As `logits_in`.
    """
    listed = _list_shapes(shapes) or got
    if output is not None:
        names = list(shapes)
        if output not in names and output.isdecimal() and int(output) < len(names):
            output = names[int(output)]
        if output not in names:
            shown = printable(output, 80)
            raise UnsuitableSubjectError(mismatch(f"output {shown} of the model", "one of", listed))
        if not fits_classes(shapes[output], num_classes):
            allowed = f"shape [N, {num_classes}], one number a class"
            shown = printable(output, 80)
            raise UnsuitableSubjectError(
                mismatch(f"output {shown} of the model", allowed, _sizes(shapes[output]))
            )
        return output
    fitting = [name for name, shape in shapes.items() if fits_classes(shape, num_classes)]
    named = [name for name in fitting if _last(name) == "logits"]
    if len(named) == 1 or len(fitting) == 1:
        return (named or fitting)[0]
    if not fitting:
        raise UnsuitableSubjectError(
            mismatch("outputs of the model", f"one of shape [N, {num_classes}]", listed)
        )
    raise UnsuitableSubjectError(
        mismatch(
            "outputs of the model",
            f"one of shape [N, {num_classes}], or one that is named logits",
            f"{listed}; choose one by its name: `output`",
        )
    )


def named_tensors(answer: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in `answer` with their names, places joined by dots."""
    if isinstance(answer, Tensor):
        yield name or "0", answer
        return
    if depth == _DEEPEST:
        return
    parts: Any = ()
    if isinstance(answer, Mapping):
        parts = answer.items()
    elif isinstance(answer, tuple) and hasattr(answer, "_fields"):
        parts = zip(answer._fields, answer, strict=True)
    elif isinstance(answer, tuple | list):
        parts = enumerate(answer)
    elif dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        parts = ((field.name, getattr(answer, field.name)) for field in dataclasses.fields(answer))
    for key, part in itertools.islice(parts, _MOST):
        yield from named_tensors(part, f"{name}.{key}" if name else str(key), depth + 1)


def fits_classes(shape: Any, num_classes: int) -> bool:
    """Tell whether an output of `shape` has one number a class: [N, K], [N, K, 1, 1]."""
    sizes = list(shape)
    if len(sizes) < 2 or any(size != 1 for size in sizes[2:]):
        return False
    return sizes[1] == num_classes or not isinstance(sizes[1], int)


def _is_answer(tensor: Tensor, num_classes: int) -> bool:
    return fits_classes(tensor.shape, num_classes)


def _flat(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim == 2 else tensor.flatten(1)


def _last(name: str) -> str:
    """Return the last part of a name such as ``model/head/logits:0``."""
    return name.lower().partition(":")[0].replace("/", ".").rpartition(".")[2]


def _list_shapes(shapes: Mapping[str, Any]) -> str:
    shown = [f"{printable(name, 80)} {_sizes(shape)}" for name, shape in shapes.items()]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _sizes(shape: Any) -> str:
    return printable("[" + ", ".join(str(size) for size in shape) + "]", 80)
