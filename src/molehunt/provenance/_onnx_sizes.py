"""What constants of an ONNX model ask for: a few hundred bytes can ask for terabytes, or years.

Shapes are followed as far as exporters write them; what a file hides better than by constants
is held by the limits of the process that opens it.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Sequence
from typing import Any

_MOST_ELEMENTS = 2**26
_MOST_TRIPS = 100_000
_LONGEST_SHAPE = 64


def size_faults(model: Any) -> Iterator[str]:
    """Yield what constants ask for beyond any image: elements, and trips of loops."""
    for part in (model.graph, *model.functions):
        yield from _faults_in(part, ChainMap(), 1)


def _faults_in(part: Any, outside: ChainMap[str, list[float]], trips: float) -> Iterator[str]:
    constants = {tensor.name: _values(tensor) for tensor in getattr(part, "initializer", ())}
    known = outside.new_child(constants)
    for sparse in getattr(part, "sparse_initializer", ()):
        yield from _too_many("a sparse constant", sparse.dims)
    for node in part.node:
        given = [known.get(name, []) for name in node.input]
        attributes = {each.name: each for each in node.attribute}
        if len(node.output) and (value := _folded(node, given, attributes)):
            known[node.output[0]] = value
        yield from _too_many(node.op_type, _size_asked(node, given, attributes))
        inside = trips
        if node.op_type == "Loop":
            inside *= _trips(node, given, attributes)
            if inside > _MOST_TRIPS:
                yield f"a Loop of more than {_MOST_TRIPS} trips"
                return
        for each in node.attribute:
            for graph in [*([each.g] if each.HasField("g") else []), *each.graphs]:
                yield from _faults_in(graph, known, inside)


def _values(tensor: Any) -> list[float]:
    """Return the numbers of a small constant; none of one that is large or lies elsewhere."""
    from onnx import numpy_helper  # noqa: PLC0415

    if math.prod(tensor.dims) > _LONGEST_SHAPE or tensor.external_data:
        return []
    try:
        return [float(value) for value in numpy_helper.to_array(tensor).ravel()]
    except Exception:  # of a type that has no numbers, or too few of them
        return []


def _folded(node: Any, given: list[list[float]], attributes: dict[str, Any]) -> list[float]:
    """Return what a node makes of constants, for the few that write shapes."""
    kind = node.op_type
    if kind == "Constant":
        return _stated(attributes)
    if not given or not all(given):
        return []
    if kind == "Concat":
        return [value for each in given for value in each][:_LONGEST_SHAPE]
    if kind in ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten"):
        return given[0]
    if kind in ("Add", "Sub", "Mul", "Pow") and len(given) == 2:
        return _elementwise(kind, *given)
    return []


def _stated(attributes: dict[str, Any]) -> list[float]:
    """Return the numbers of a node that is a constant."""
    for name, each in attributes.items():
        if name == "value" and each.HasField("t"):
            return _values(each.t)
        if name in ("value_int", "value_float"):
            return [float(each.i if name == "value_int" else each.f)]
        if name in ("value_ints", "value_floats"):
            listed = each.ints if name == "value_ints" else each.floats
            return [float(value) for value in listed[:_LONGEST_SHAPE]]
    return []


def _elementwise(kind: str, first: list[float], second: list[float]) -> list[float]:
    length = max(len(first), len(second))
    if {len(first), len(second)} - {1, length}:
        return []
    pairs = zip(first * (length // len(first)), second * (length // len(second)), strict=True)
    try:
        match kind:
            case "Add":
                return [a + b for a, b in pairs]
            case "Sub":
                return [a - b for a, b in pairs]
            case "Mul":
                return [a * b for a, b in pairs]
        return [float(a**b) for a, b in pairs]
    except (OverflowError, ZeroDivisionError, TypeError):
        return [math.inf]


def _size_asked(  # noqa: PLR0911  one line for each kind of operator
    node: Any, given: list[list[float]], attributes: dict[str, Any]
) -> Sequence[float]:
    """Return sizes whose product a node's answer has at least, as far as constants tell."""
    last = given[-1] if given else []
    match node.op_type:
        case "ConstantOfShape":
            return last
        case "Expand" | "Tile":
            return given[1] if len(given) > 1 else []
        case "Range" if len(given) == 3 and all(given):
            (start, *_), (limit, *_), (step, *_) = given
            return [(limit - start) / step] if step else [math.inf]
        case "RandomNormal" | "RandomUniform" if "shape" in attributes:
            return [float(side) for side in attributes["shape"].ints]
        case "Resize" | "Upsample" if last:
            return last
        case "OneHot" if len(given) > 1:
            return given[1][:1]
        case "Pad" if len(given) > 1 or "pads" in attributes:
            pads = given[1] if len(given) > 1 else [float(n) for n in attributes["pads"].ints]
            half = len(pads) // 2
            sides = zip(pads[:half], pads[half:], strict=False)
            return [1 + max(0.0, before) + max(0.0, after) for before, after in sides]
        case "HannWindow" | "HammingWindow" | "BlackmanWindow":
            return given[0][:1] if given else []
        case "CenterCropPad" if len(given) > 1:
            return given[1]
        case "Constant" if "sparse_value" in attributes:
            return [float(side) for side in attributes["sparse_value"].sparse_tensor.dims]
    return []


def _too_many(kind: str, sides: Sequence[float]) -> Iterator[str]:
    count = math.prod(max(1.0, abs(float(side))) for side in sides)
    if not count <= _MOST_ELEMENTS:  # what is no number is no size
        yield f"{kind} of {count:.3g} elements, more than {_MOST_ELEMENTS}"


def _trips(node: Any, given: list[list[float]], attributes: dict[str, Any]) -> float:
    """Return how often a Loop runs at least; once where that is computed."""
    is_stated = bool(node.input) and bool(node.input[0])
    if is_stated and not given[0]:
        return 1
    if is_stated and given[0][0] <= _MOST_TRIPS:
        return max(1.0, given[0][0])
    # Exporters write the largest number for "while": then the condition has to end it.
    return math.inf if "body" in attributes and _never_stops(attributes["body"].g) else 1


def _never_stops(body: Any) -> bool:
    """Whether the body of a Loop gives the condition on that it got, or a constant one."""
    if not body.output:
        return False
    makers = {name: node for node in body.node for name in node.output}
    name = body.output[0].name
    for _ in range(len(makers) + 1):
        node = makers.get(name)
        if node is None:
            return True  # its own input, a constant, or a value from outside
        if node.op_type == "Constant":
            return True
        if node.op_type not in ("Identity", "Cast") or not node.input:
            return False
        name = node.input[0]
    return True
