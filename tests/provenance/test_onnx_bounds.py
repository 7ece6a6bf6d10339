"""Small ONNX files that ask for endless work are refused before anything opens them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molehunt.provenance import SerializationState, external_files, inspect_serialization

onnx = pytest.importorskip("onnx")
make = onnx.helper
INT64, FLOAT, BOOL = (getattr(onnx.TensorProto, name) for name in ("INT64", "FLOAT", "BOOL"))
HUGE = [3000, 1000, 1000]


def constant(name: str, value: Any) -> Any:
    return onnx.numpy_helper.from_array(np.array(value), name)


def model_of(*nodes: Any, constants: tuple[Any, ...] = (), functions: tuple[Any, ...] = ()) -> Any:
    values = [make.make_tensor_value_info(name, FLOAT, ["n", 2]) for name in "xy"]
    last = make.make_node("Relu", ["x"], ["y"])
    graph = make.make_graph([*nodes, last], "g", values[:1], values[1:], initializer=constants)
    opsets = [make.make_opsetid("", 17), make.make_opsetid("mine", 1)]
    return make.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)


def body(*nodes: Any, goes_on: str = "go") -> Any:
    """The body of a Loop that carries nothing; `goes_on` says whether it goes on."""
    given = [
        make.make_tensor_value_info("i", INT64, []),
        make.make_tensor_value_info("go", BOOL, []),
    ]
    answer = [make.make_tensor_value_info(goes_on, BOOL, [])]
    return make.make_graph(list(nodes), "body", given, answer)


def loop(*nodes: Any, most: str = "most", goes_on: str = "go") -> Any:
    return make.make_node("Loop", [most, ""], [], body=body(*nodes, goes_on=goes_on))


def branch(*nodes: Any) -> Any:
    graph = make.make_graph(list(nodes), "branch", [], [])
    return make.make_node("If", ["go"], [], then_branch=graph, else_branch=graph)


def function(name: str, *nodes: Any) -> Any:
    return make.make_function("mine", name, ["x"], ["y"], nodes, [make.make_opsetid("", 17)])


def deep(depth: int) -> Any:
    """Functions that call the next one twice."""
    names = [f"f{level}" for level in range(depth)]
    functions = [function(names[-1], make.make_node("Relu", ["x"], ["y"]))]
    for name, called in itertools.pairwise(names):
        twice = [make.make_node(called, [a], [b], domain="mine") for a, b in ("xz", "zy")]
        functions.append(function(name, *twice))
    return model_of(make.make_node("f0", ["x"], ["u"], domain="mine"), functions=tuple(functions))


def node(kind: str, *given: str, **attributes: Any) -> Any:
    return make.make_node(kind, list(given), ["big"], **attributes)


def sparse() -> Any:
    values, indices = constant("v", np.ones(1, np.float32)), constant("i", [0])
    tensor = make.make_sparse_tensor(values, indices, [2**40])
    return model_of(make.make_node("Constant", [], ["big"], sparse_value=tensor))


shape = constant("shape", HUGE)
by_parts = (constant("a", [3000]), constant("b", [1000, 1000]))
TOO_MUCH: dict[str, Callable[[], Any]] = {
    "a constant of a shape": lambda: model_of(node("ConstantOfShape", "shape"), constants=(shape,)),
    "expanded": lambda: model_of(node("Expand", "x", "shape"), constants=(shape,)),
    "tiled": lambda: model_of(node("Tile", "x", "shape"), constants=(shape,)),
    "resized": lambda: model_of(node("Resize", "x", "", "", "shape"), constants=(shape,)),
    "padded": lambda: model_of(
        node("Pad", "x", "shape"), constants=(constant("shape", [0, 0, 2**20, 2**20]),)
    ),
    "one-hot": lambda: model_of(
        node("OneHot", "x", "depth", "x"), constants=(constant("depth", 2**40),)
    ),
    "random": lambda: model_of(node("RandomNormal", shape=HUGE)),
    "a range": lambda: model_of(
        node("Range", "from", "to", "by"),
        constants=(constant("from", 0), constant("to", 2**40), constant("by", 1)),
    ),
    "a window": lambda: model_of(node("HannWindow", "n"), constants=(constant("n", 2**33),)),
    "sparse": sparse,
    "by a node": lambda: model_of(
        make.make_node("Constant", [], ["s"], value_ints=HUGE), node("ConstantOfShape", "s")
    ),
    "by parts": lambda: model_of(
        make.make_node("Concat", ["a", "b"], ["s"], axis=0),
        node("Expand", "x", "s"),
        constants=by_parts,
    ),
    "by a product": lambda: model_of(
        make.make_node("Mul", ["b", "b"], ["s"]), node("Expand", "x", "s"), constants=by_parts
    ),
    "in a branch": lambda: model_of(branch(node("Expand", "x", "shape")), constants=(shape,)),
    "in a function": lambda: model_of(
        make.make_node("f", ["x"], ["u"], domain="mine"),
        functions=(function("f", node("RandomUniform", shape=HUGE)),),
    ),
    "a loop without end": lambda: model_of(loop(most="")),
    "a long loop": lambda: model_of(loop(), constants=(constant("most", 2**40),)),
    "a loop that copies its condition": lambda: model_of(
        loop(make.make_node("Identity", ["go"], ["on"]), most="", goes_on="on")
    ),
    "loops in a loop": lambda: model_of(loop(loop(loop())), constants=(constant("most", 9_999),)),
    "calls of calls": lambda: deep(30),
    "a function that calls itself": lambda: model_of(
        make.make_node("f", ["x"], ["u"], domain="mine"),
        functions=(function("f", make.make_node("f", ["x"], ["y"], domain="mine")),),
    ),
}
HONEST: dict[str, Callable[[], Any]] = {
    "a mask": lambda: model_of(
        node("ConstantOfShape", "shape"), constants=(constant("shape", [1, 1, 1024, 1024]),)
    ),
    "a loop over words": lambda: model_of(loop(), constants=(constant("most", 512),)),
    "while": lambda: model_of(  # as exporters write it
        loop(make.make_node("Less", ["i", "limit"], ["on"]), goes_on="on"),
        constants=(constant("most", 2**63 - 1), constant("limit", 5)),
    ),
    "functions of functions": lambda: deep(8),
    "a shape that is computed": lambda: model_of(
        make.make_node("Shape", ["x"], ["s"]), node("Expand", "x", "s")
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_graph_that_asks_for_too_much_is_unknown(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(TOO_MUCH[name]().SerializeToString())
    found = inspect_serialization(path)
    assert found.state is SerializationState.UNKNOWN, found.detail
    assert any(word in found.detail for word in ("elements", "trips", "times", "themselves"))


@pytest.mark.parametrize("name", HONEST)
def test_a_graph_that_asks_for_little_is_clean(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(HONEST[name]().SerializeToString())
    found = inspect_serialization(path)
    assert found.state is SerializationState.CLEAN, found.detail


def length(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


@pytest.mark.parametrize(
    "field",
    [b"\x0a\x00", b"\x2a\x00", b"\x5a\x00", b"\x0a\x02\x2a\x00", b"\x0a\x02\x0a\x00"],
    ids=["nodes", "initialisers", "inputs", "attributes", "inputs of nodes"],
)
def test_millions_of_empty_parts_are_told_before_they_are_made(
    field: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = model_of()
    graph = plain.graph.SerializeToString() + field * 600_000
    plain.ClearField("graph")
    path = tmp_path / "model.onnx"
    path.write_bytes(plain.SerializeToString() + b"\x3a" + length(len(graph)) + graph)
    made = []
    parse = onnx.ModelProto.ParseFromString
    monkeypatch.setattr(
        onnx.ModelProto, "ParseFromString", lambda *given: made.append(1) or parse(*given)
    )
    found = inspect_serialization(path)
    assert found.state is SerializationState.UNKNOWN
    assert "more than" in found.detail
    assert not made
    assert external_files(path) == []


def test_large_weights_are_one_field(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    weights = constant("w", np.zeros((2000, 1000), np.float32))
    path.write_bytes(model_of(constants=(weights,)).SerializeToString())
    assert inspect_serialization(path).state is SerializationState.CLEAN
