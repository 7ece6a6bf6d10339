"""From a node of a traced network to the operation that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.nn.modules.utils import _pair

from molehunt.defences._operations import (
    Add,
    BatchNorm,
    Convolution,
    Dense,
    MaxPool,
    Mean,
    Operation,
    Relu,
    Reshape,
)

ALLOWED = (
    "convolution, fully connected, ReLU, max or average pooling, batch normalisation, "
    "dropout, flattening, addition, a softmax at the end"
)


class Passed(Enum):
    """What is no operation of its own."""

    KEPT = auto()  # the values as they are
    SQUASHED = auto()  # the values in another scale, in the same order


Values = Mapping[fx.Node, Any]
Read = Operation | Passed | None

# What the functions of torch take after their input, in order; modules have attributes of the
# same names.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "conv2d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "linear": ("weight", "bias"),
    "batch_norm": (
        *("running_mean", "running_var", "weight", "bias"),
        *("training", "momentum", "eps"),
    ),
    "max_pool2d": (
        *("kernel_size", "stride", "padding", "dilation"),
        *("ceil_mode", "return_indices"),
    ),
    "add": ("other", "alpha"),
    "dropout": ("p", "training"),
    "softmax": ("dim",),
    "log_softmax": ("dim",),
}
_MODULES: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv2d",
    nn.Linear: "linear",
    nn.BatchNorm1d: "batch_norm",
    nn.BatchNorm2d: "batch_norm",
    nn.MaxPool2d: "max_pool2d",
    nn.ReLU: "relu",
    nn.AvgPool2d: "avg_pool2d",
    nn.AdaptiveAvgPool2d: "adaptive_avg_pool2d",
    nn.Flatten: "flatten",
    nn.Identity: "identity",
    nn.Dropout: "dropout",
    nn.Dropout2d: "dropout",
    nn.Softmax: "softmax",
    nn.LogSoftmax: "log_softmax",
    nn.Sigmoid: "sigmoid",
}
_SAME = {
    "_max_pool2d": "max_pool2d",
    "iadd": "add",
    "view": "flatten",
    "reshape": "flatten",
    "feature_dropout": "dropout",
    "dropout2d": "dropout",
    "contiguous": "identity",
    "clone": "identity",
}


def read_operation(node: fx.Node, traced: fx.GraphModule, values: Values) -> Read:
    """Return what a node does to the pixels' values; None where bounds do not know it.

    Parameters
    ----------
    node : Node
        A call of a module, a function or a method.
    traced : GraphModule
    values : mapping
        What each node gave for two images.
    """
    after = values[node]
    if not after.ndim or len(after) != len(values[node.all_input_nodes[0]]):
        return None
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        name = _MODULES.get(type(layer), "")
        given = {key: getattr(layer, key, None) for key in _ARGUMENTS.get(name, ())}
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            return None
        return _READERS[name](_Call(given, after, layer)) if name in _READERS else None
    name = function_name(node)
    given = _bind(node, name, values)

    def call(inputs: Tensor) -> Any:
        def fill(each: fx.Node) -> Any:
            return inputs if each is node.all_input_nodes[0] else values[each]

        arguments = fx.map_arg(node.args, fill), fx.map_arg(node.kwargs, fill)
        target: Any = node.target
        if isinstance(target, str):
            return getattr(arguments[0][0], target)(*arguments[0][1:], **arguments[1])
        return target(*arguments[0], **arguments[1])

    return _READERS[name](_Call(given, after, call)) if name in _READERS else None


def function_name(node: fx.Node) -> str:
    """Return the plain name of a node's function or method.

    Examples
    --------
    >>> graph = fx.Graph()
    >>> function_name(graph.call_method("relu_", (graph.placeholder("x"),)))
    'relu'
    """
    target: Any = node.target
    name: str = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    name = name.rstrip("_")
    return _SAME.get(name, name)


def _bind(node: fx.Node, name: str, values: Values) -> dict[str, Any]:
    """Return the arguments of a call after the first, by name."""
    names = _ARGUMENTS.get(name, ())
    given = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
    bound: dict[str, Any] = fx.map_arg(given, lambda each: values[each])
    return bound


class _Call(NamedTuple):
    """A call of a function: its arguments after the first, its result, and itself."""

    given: Mapping[str, Any]
    after: Tensor
    run: Callable[[Tensor], Any]


def _read_addition(call: _Call) -> Add | None:
    alike = call.after.shape == getattr(call.given.get("other"), "shape", None)
    return Add() if alike and call.given.get("alpha", 1) == 1 else None


def _read_squash(call: _Call) -> Passed | None:
    over_classes = call.after.ndim == 2 and call.given.get("dim", 1) in (1, -1)
    return Passed.SQUASHED if over_classes else None


def _read_convolution(call: _Call) -> Convolution | None:
    given = call.given
    weight: Tensor = given["weight"]
    dilation = _pair(given.get("dilation", 1))
    padding = given.get("padding", 0)
    if padding == "valid":
        padding = 0
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = tuple(each // 2 for each in whole)
        if any(each % 2 for each in whole):
            return None
    return Convolution(
        weight,
        given.get("bias"),
        _pair(given.get("stride", 1)),
        _pair(padding),
        dilation,
        given.get("groups", 1),
    )


def _read_batch_norm(call: _Call) -> BatchNorm | None:
    given = call.given
    mean, variance = given.get("running_mean"), given.get("running_var")
    if mean is None or variance is None or given.get("training"):
        return None
    return BatchNorm(mean, variance, given.get("weight"), given.get("bias"), given.get("eps", 1e-5))


def _read_max_pool(call: _Call) -> MaxPool | None:
    given = call.given
    if given.get("return_indices"):
        return None
    kernel = _pair(given["kernel_size"])
    return MaxPool(
        {
            "kernel_size": kernel,
            "stride": _pair(given.get("stride") or kernel),
            "padding": _pair(given.get("padding", 0)),
            "dilation": _pair(given.get("dilation", 1)),
            "ceil_mode": given.get("ceil_mode", False),
        }
    )


_READERS: dict[str, Callable[[_Call], Read]] = {
    "conv2d": _read_convolution,
    "linear": lambda call: Dense(call.given["weight"], call.given.get("bias")),
    "batch_norm": _read_batch_norm,
    "relu": lambda _call: Relu(),
    "max_pool2d": _read_max_pool,
    "avg_pool2d": lambda call: Mean(call.run),
    "adaptive_avg_pool2d": lambda call: Mean(call.run),
    "mean": lambda call: Mean(call.run),
    "flatten": lambda call: Reshape(tuple(call.after.shape[1:])),
    "add": _read_addition,
    "identity": lambda _call: Passed.KEPT,
    "dropout": lambda call: None if call.given.get("training", True) else Passed.KEPT,
    "softmax": _read_squash,
    "log_softmax": _read_squash,
    "sigmoid": _read_squash,
}
