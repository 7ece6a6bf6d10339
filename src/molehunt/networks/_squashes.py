"""What went into the softmax or sigmoid that a network ends in.

Probabilities in float32 cannot give logits back: what lies 90 under the largest is 0. So the
forward pass is watched, and the argument of the last squashing function is taken in place of
its result. Functions are known by name, so that a loaded ``torch.export`` graph, whose nodes
call ATen, is read as a Python network is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SQUASHES = {"softmax", "log_softmax", "sigmoid", "expit", "logsigmoid", "log_sigmoid", "tanh"}
# What gives the same numbers in another arrangement; done to the arguments as well.
_ARRANGES = {
    *("view", "reshape", "unsafe_view", "flatten", "squeeze", "unsqueeze", "contiguous", "clone"),
    *("slice", "getitem", "select", "permute", "transpose", "t", "expand", "detach", "alias"),
    *("cat", "concat", "concatenate", "view_as", "reshape_as", "narrow"),
}
# What changes each number by itself and in order; the arguments stay as they are.
_SCALES = {
    *("log", "exp", "clamp", "clip", "clamp_min", "clamp_max", "add", "radd", "mul", "rmul"),
    *("div", "truediv", "to", "to_copy", "float", "double", "half", "bfloat16", "type", "dropout"),
    *("dropout2d", "feature_dropout", "alpha_dropout", "nan_to_num"),
}


class WatchSquashes(TorchFunctionMode):
    """Remembers the arguments of squashing functions while a network runs.

    Works with autograd, `torch.func.functional_call` and `torch.vmap`. What a compiled or
    scripted part does inside itself is not seen.

    Parameters
    ----------
    num_classes : int
        K; only what has one number a class and image is remembered, so that the softmax of
        attention costs no memory.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self._num_classes = num_classes
        # By identity; the tensor is kept, so that no other gets its identity.
        self._known: dict[int, tuple[Tensor, tuple[Tensor, ...]]] = {}

    def arguments_of(self, result: Tensor) -> tuple[Tensor, ...]:
        """Return what went into the squashing functions that gave `result`, the last one first."""
        return self._known.get(id(result), (result, ()))[1]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch, and remember what has to be."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").partition(".")[0]
        base = name.strip("_")
        if base in SQUASHES:
            given = args[0] if args else kwargs.get("input", kwargs.get("self"))
            if isinstance(given, Tensor) and self._is_answer(given):
                inner = self.arguments_of(given)
                if name.endswith("_") and not name.startswith("_"):
                    given = given.clone()  # it is about to be overwritten
                result = func(*args, **kwargs)
                self._remember(result, (given, *inner))
                return result
        elif base in _ARRANGES or base in _SCALES:
            return self._follow(base, func, args, kwargs)
        return func(*args, **kwargs)

    def _follow(
        self, base: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        first = args[0] if args else kwargs.get("input")
        several = isinstance(first, list | tuple)
        parts: list[Any] = [*first] if isinstance(first, list | tuple) else [first]
        chains = [self.arguments_of(part) for part in parts if isinstance(part, Tensor)]
        result = func(*args, **kwargs)
        if not chains or len(chains) < len(parts) or not all(chains) or not args:
            return result
        if base in _SCALES:
            others = [*args[1:], *kwargs.values()]
            if not any(isinstance(other, Tensor) and other.ndim for other in others):
                self._remember(result, chains[0])
            return result
        moved = [
            func(list(level) if several else level[0], *args[1:], **kwargs)
            for level in zip(*chains, strict=False)
        ]
        self._remember(result, tuple(moved))
        return result

    def _remember(self, result: Any, arguments: tuple[Tensor, ...]) -> None:
        if isinstance(result, Tensor):
            self._known[id(result)] = (result, arguments)

    def _is_answer(self, tensor: Tensor) -> bool:
        return tensor.ndim >= 2 and tensor.numel() == len(tensor) * self._num_classes


def squash(kind: str, values: Tensor) -> Tensor:
    """Return softmax, log-softmax, sigmoid or tanh of `values` [N, K], as `kind` names it."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "softmax": lambda given: given.softmax(1),
        "log_softmax": lambda given: given.log_softmax(1),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }
    return functions[kind](values)
