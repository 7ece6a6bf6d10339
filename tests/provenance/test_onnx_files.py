"""ONNX models: what they may ask for, told without opening it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from molehunt.provenance import FileFormat, SerializationState, inspect_serialization

onnx = pytest.importorskip("onnx")
CLEAN, UNSAFE, UNKNOWN = (
    SerializationState.CLEAN,
    SerializationState.UNSAFE,
    SerializationState.UNKNOWN,
)


def model_of(*nodes: Any, functions: Any = (), initializer: Any = ()) -> Any:
    make = onnx.helper
    values = [make.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["batch", 2]) for n in "xy"]
    graph = make.make_graph(
        list(nodes), "graph", values[:1], values[1:], initializer=list(initializer)
    )
    domains = sorted({node.domain for node in nodes} | {""})
    opsets = [make.make_opsetid(domain, 17 if not domain else 1) for domain in domains]
    return make.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


def node(kind: str = "Relu", domain: str = "", **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, ["x"], ["y"], domain=domain, **attributes)


def outside(location: str, length: str = "8") -> Any:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": length}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def nested(inner: Any) -> Any:
    """A branch of an If within a branch of an If."""
    graph = onnx.helper.make_graph([inner], "inner", [], [])
    for _ in range(2):
        branch = onnx.helper.make_node(
            "If", ["x"], ["y"], then_branch=graph, else_branch=onnx.GraphProto()
        )
        graph = onnx.helper.make_graph([branch], "outer", [], [])
    return model_of(branch)


def function(kind: str, domain: str) -> Any:
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_function("mine", "Twice", ["x"], ["y"], [node(kind, domain)], opsets)


MODELS: dict[str, tuple[Callable[[], Any], SerializationState]] = {
    "plain": (lambda: model_of(node()), CLEAN),
    "microsoft": (lambda: model_of(node("FusedConv", "com.microsoft")), CLEAN),
    "its own function": (
        lambda: model_of(node("Twice", "mine"), functions=[function("Relu", "")]),
        CLEAN,
    ),
    "data beside": (lambda: model_of(node(), initializer=[outside("weights.bin")]), CLEAN),
    "data below": (lambda: model_of(node(), initializer=[outside("below/weights.bin")]), CLEAN),
    "data above": (lambda: model_of(node(), initializer=[outside("../weights.bin")]), UNSAFE),
    "data above, hidden": (
        lambda: model_of(node(), initializer=[outside("below/../../weights.bin")]),
        UNSAFE,
    ),
    "absolute data": (lambda: model_of(node(), initializer=[outside("/etc/passwd")]), UNSAFE),
    "data on a drive": (lambda: model_of(node(), initializer=[outside("C:\\w.bin")]), UNSAFE),
    "data by a link": (lambda: model_of(node(), initializer=[outside("link.bin")]), UNSAFE),
    "data by a linked folder": (
        lambda: model_of(node(), initializer=[outside("linked/weights.bin")]),
        UNSAFE,
    ),
    "missing data": (lambda: model_of(node(), initializer=[outside("none.bin")]), UNKNOWN),
    "data too long": (
        lambda: model_of(node(), initializer=[outside("weights.bin", "9999")]),
        UNKNOWN,
    ),
    "no place": (lambda: model_of(node(), initializer=[outside("")]), UNKNOWN),
    "data of a constant": (
        lambda: model_of(onnx.helper.make_node("Constant", [], ["y"], value=outside("/etc/x"))),
        UNSAFE,
    ),
    "deep data": (
        lambda: nested(onnx.helper.make_node("Constant", [], ["y"], value=outside("../x"))),
        UNSAFE,
    ),
    "unknown domain": (lambda: model_of(node("Own", "my.ops")), UNKNOWN),
    "deep unknown domain": (lambda: nested(node("Own", "my.ops")), UNKNOWN),
    "python": (lambda: model_of(node("PythonOp", "com.microsoft")), UNSAFE),
    "an engine": (lambda: model_of(node("EPContext", "com.microsoft")), UNSAFE),
    "python in a function": (
        lambda: model_of(node("Twice", "mine"), functions=[function("PythonOp", "com.microsoft")]),
        UNSAFE,
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside.bin").write_bytes(bytes(8))
    place = tmp_path / "models"
    (place / "below").mkdir(parents=True)
    for name in ("weights.bin", "below/weights.bin"):
        (place / name).write_bytes(bytes(8))
    (place / "link.bin").symlink_to(tmp_path / "outside.bin")
    (place / "linked").symlink_to(place / "below")
    return place


@pytest.mark.parametrize("name", MODELS)
def test_models_are_judged(name: str, folder: Path) -> None:
    make, expected = MODELS[name]
    path = folder / "model.jpg"
    path.write_bytes(make().SerializeToString())
    found = inspect_serialization(path)
    assert (found.format, found.state) == (FileFormat.ONNX, expected), found


def test_a_cut_model_is_not_clean(folder: Path) -> None:
    content = MODELS["plain"][0]().SerializeToString()
    for length in range(len(content)):
        (folder / "cut.onnx").write_bytes(content[:length])
        assert inspect_serialization(folder / "cut.onnx").state is not CLEAN, length


def test_without_the_extra_it_is_not_scanned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.onnx").write_bytes(MODELS["plain"][0]().SerializeToString())
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = inspect_serialization(folder / "model.onnx")
    assert found.state is SerializationState.NOT_SCANNED
    assert 'extra "onnx"' in found.detail
