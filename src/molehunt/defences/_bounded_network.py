"""A classifier as the operations that bounds know, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from molehunt.defences._operations import Interval, Normalise, Operation
from molehunt.defences._read_operations import ALLOWED, Passed, function_name, read_operation
from molehunt.errors import UnsuitableSubjectError, mismatch, printable, reason_of
from molehunt.networks import Access, Classifier


@dataclass(frozen=True)
class Step:
    """An operation and which values go into it: 0 are the pixels, n is what step n gives."""

    name: str
    operation: Operation
    sources: tuple[int, ...]
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class BoundedNetwork:
    """A classifier as steps; the last one gives the logits [N, K], before any softmax.

    The steps hold the classifier's own parameters: bounds follow its weights, and gradients
    of bounds flow into them.
    """

    steps: tuple[Step, ...]
    input_shape: tuple[int, ...]
    num_classes: int


def read_network(model: Classifier) -> BoundedNetwork:
    """Return a classifier as steps.

    The network is traced with symbols and run on two random images, in evaluation mode; the
    steps must give what it gives.

    Parameters
    ----------
    model : Classifier
        Its normalisation is the first step. A softmax or sigmoid at its end is left out: it
        keeps the order of the classes.

    Raises
    ------
    UnsuitableSubjectError
        If the model only answers, its weights are not finite, it cannot be traced, or it has a
        layer that bounds do not know; the message names the layer and what is allowed. Also
        if its answers are no function of these steps: random, or changed in place.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> model = build_classifier("strided", load_images("digits", size=12).test, seed=0)
    >>> [type(step.operation).__name__ for step in read_network(model).steps][:3]
    ['Normalise', 'Convolution', 'Relu']
    """
    if not {Access.WEIGHTS, Access.GRADIENTS} <= model.gives:
        raise UnsuitableSubjectError(
            mismatch("model to bound", "one with weights", "one that only answers")
        )
    if not model.is_finite():
        raise UnsuitableSubjectError(mismatch("weights", "finite numbers", "others"))
    was_training = model.training
    model.eval()
    try:
        traced = _trace(model.network)
        return BoundedNetwork(
            _read_steps(model, traced), model.card.input_shape, model.card.num_classes
        )
    finally:
        model.train(was_training)


class _Coarse(fx.Tracer):
    """Does not look into modules that are no sequences."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, nn.Sequential)


def _trace(network: nn.Module) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(network)
    except Exception as error:  # what a module of any kind does when it is given symbols
        try:
            # The module that cannot be traced is then refused by its name.
            return fx.GraphModule(network, _Coarse().trace(network))
        except Exception:
            raise _refuse("network", "one that can be traced", reason_of(error)) from error


def _read_steps(model: Classifier, traced: fx.GraphModule) -> tuple[Step, ...]:
    shape = model.card.input_shape
    normalise = Normalise(model.mean, model.std, model.card.channel_order == "bgr")
    normalise.input_shape = shape
    probes = torch.rand(_PROBES, *shape, generator=torch.Generator().manual_seed(0))
    probes = probes.to(model.mean.device)
    values = _run(traced, normalise.apply(probes))
    steps = [Step("normalisation", normalise, (0,), shape)]
    places: dict[fx.Node, int] = {}
    squashed: set[fx.Node] = set()
    for node in traced.graph.nodes:
        inputs = [each for each in (*node.args, *node.kwargs.values()) if _is_among(each, places)]
        sources = tuple(places[each] for each in inputs)
        if node.op == "placeholder":
            places[node] = len(steps)
        elif node.op == "output":
            _check_output(node, places, steps, model.card.num_classes)
            logits = next(each for each in reversed(places) if each not in squashed)
            _check_answers(steps, probes, values[logits])
        elif sources and isinstance(values[node], Tensor):
            read = read_operation(node, traced, values)
            known = isinstance(read, Passed) or (read is not None and read.arity == len(sources))
            if not known or squashed.intersection(inputs):
                raise _refuse("layer", ALLOWED, _name(node, traced))
            if isinstance(read, Operation):
                before, after = values[inputs[0]].shape, values[node].shape
                read.input_shape = tuple(before[1:])
                steps.append(Step(_name(node, traced), read, sources, tuple(after[1:])))
            elif read is Passed.SQUASHED:
                squashed.add(node)
            places[node] = len(steps) if isinstance(read, Operation) else sources[0]
    return tuple(steps)


def _is_among(each: object, places: Mapping[fx.Node, int]) -> TypeGuard[fx.Node]:
    return isinstance(each, fx.Node) and each in places


def _run(traced: fx.GraphModule, probes: Tensor) -> dict[fx.Node, Any]:
    runner = fx.Interpreter(traced, garbage_collect_values=False)
    runner.extra_traceback = False
    try:
        with torch.no_grad():
            runner.run(probes)
    except Exception as error:  # of a stranger's graph
        raise _refuse("network", "one that runs on its images", reason_of(error)) from error
    return runner.env


def _check_output(
    node: fx.Node, places: Mapping[fx.Node, int], steps: Sequence[Step], classes: int
) -> None:
    """Refuse a network that does not end in the logits of its classes."""
    (result,) = node.args
    last = steps[-1].output_shape
    single = isinstance(result, fx.Node) and places.get(result) == len(steps)
    if not single or last != (classes,):
        got = f"values of shape {[*last]}" if single else "several"
        raise _refuse("outputs", f"the logits of {classes} classes", got)


@torch.no_grad()
def _check_answers(steps: Sequence[Step], probes: Tensor, logits: Tensor) -> None:
    """Refuse steps that do not give the network's own answers."""
    bounds = [Interval(probes, probes)]
    for step in steps:
        bounds.append(step.operation.interval(*(bounds[each] for each in step.sources)))
    gap = (bounds[-1].lower - logits).abs().max() / (1 + logits.abs().max())
    if not float(gap) < _TOLERANCE:
        allowed = "one whose layers change nothing in place and draw nothing"
        raise _refuse("network", allowed, "other answers than its layers give")


def _name(node: fx.Node, traced: fx.GraphModule) -> str:
    """Return how a reader finds a layer: its path and class, or the function."""
    if node.op == "call_module":
        return f"{node.target} ({type(traced.get_submodule(str(node.target))).__name__})"
    return f"the function {function_name(node)}"


def _refuse(what: str, allowed: str, got: str) -> UnsuitableSubjectError:
    return UnsuitableSubjectError(mismatch(f"{what} to bound", allowed, printable(got, 200)))


# With two images a shape says which of its numbers is the batch's.
_PROBES = 2
_TOLERANCE = 1e-3  # of float32's rounding, in many layers
