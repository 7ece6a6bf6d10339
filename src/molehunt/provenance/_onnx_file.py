"""Judge an ONNX model: which files and which operators it asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from molehunt.provenance._judgement import (
    Judgement,
    UnreadContentError,
    clean,
    judge_unknown,
    unsafe,
    worst,
)
from molehunt.provenance._onnx_bounds import check_counts, expansion_fault
from molehunt.provenance._onnx_sizes import size_faults

# Tags of the fields of ModelProto (onnx.proto3) in protobuf's encoding.
_STARTS = {
    *(b"\x08", b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42", b"\x72"),
    *(b"\xa2\x01", b"\xca\x01"),
}
_LARGEST_MODEL = 2**31  # bytes; protobuf reads no more
_DOMAINS = {
    *("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"),
    *("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"),
}
# Operators of com.microsoft that run Python or open a compiled engine by its path.
_REACHING = {"PythonOp", "PythonOpGrad", "PyOp", "EPContext", "ATen", "ExternalGradient"}


def parse_onnx(path: Path) -> Any:
    """Return the model if the file is one, else None; external data is not opened.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    UnreadContentError
        If it has more parts than any network for images; nothing was parsed.
    """
    import onnx  # noqa: PLC0415  an extra: only a file that may be ONNX asks for it

    if path.stat().st_size > _LARGEST_MODEL:
        return None
    content = path.read_bytes()
    model = onnx.ModelProto()
    try:
        check_counts(content, onnx.ModelProto.DESCRIPTOR)
        model.ParseFromString(content)
    except UnreadContentError:
        raise
    except Exception:  # protobuf's parsers raise their own kinds
        return None
    if model.ir_version < 1 or not model.opset_import or not model.HasField("graph"):
        return None
    return model


def may_be_onnx(head: bytes) -> bool:
    """Whether the file starts with a field of ModelProto: most writers put ir_version first."""
    return head[:1] in _STARTS or head[:2] in _STARTS


def judge_onnx(model: Any, folder: Path) -> Judgement:
    """Judge the graph with all its subgraphs, functions and external data.

    Parameters
    ----------
    model : onnx.ModelProto
    folder : Path
        Where the file lies; external data must lie there or below.
    """
    local = {(function.domain, function.name) for function in model.functions}
    found: list[Judgement] = []
    if any(True for _ in _unknown_fields(model)):
        found.append(judge_unknown("fields that no version of ONNX known here has"))
    if fault := expansion_fault(model):
        found.append(judge_unknown(fault))
    found += map(judge_unknown, size_faults(model))
    for part in _parts(model):
        for node in part.node:
            found += _node_faults(node, local)
        for tensor in _tensors(part):
            found += _data_faults(tensor, folder)
    outside = " and its external data" if any(_externals(model)) else ""
    return worst(found, otherwise=clean(f"a graph of known operators{outside}"))


def _unknown_fields(model: Any) -> Iterator[object]:
    try:
        from google.protobuf import unknown_fields  # noqa: PLC0415  comes with onnx
    except ImportError:  # an older protobuf keeps them out of reach
        return
    yield from unknown_fields.UnknownFieldSet(model)
    yield from unknown_fields.UnknownFieldSet(model.graph)


def _parts(model: Any) -> Iterator[Any]:
    """Yield the graph, training graphs and functions, each with all graphs inside it."""
    rest = [model.graph, *model.functions]
    for training in model.training_info:
        rest += [training.initialization, training.algorithm]
    while rest:
        part = rest.pop()
        yield part
        for attribute in _attributes(part):
            rest += [attribute.g] if attribute.HasField("g") else []
            rest += attribute.graphs


def _attributes(part: Any) -> Iterator[Any]:
    for node in part.node:
        yield from node.attribute
    yield from getattr(part, "attribute_proto", ())


def _tensors(part: Any) -> Iterator[Any]:
    sparse = list(getattr(part, "sparse_initializer", ()))
    yield from getattr(part, "initializer", ())
    for attribute in _attributes(part):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            sparse.append(attribute.sparse_tensor)
        sparse += attribute.sparse_tensors
    for each in sparse:
        yield each.values
        yield each.indices


def _externals(model: Any) -> Iterable[Any]:
    return (t for part in _parts(model) for t in _tensors(part) if t.external_data)


def external_files(path: Path) -> list[str]:
    """Return the files that an ONNX model keeps its tensors in, by their names beside it.

    Names that lead out of the folder are left out: judging the model refuses them. A file that
    is no ONNX model has none, and so has any where the package onnx is not installed.
    """
    with path.open("rb") as stream:
        if not may_be_onnx(stream.read(2)):
            return []
    try:
        model = parse_onnx(path)
    except (ImportError, UnreadContentError):
        return []
    if model is None:
        return []
    places = {
        entry.value
        for tensor in _externals(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(place for place in places if place and not _leaves(place, path.parent))


def _node_faults(node: Any, local: set[tuple[str, str]]) -> Iterator[Judgement]:
    name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    if (node.domain, node.op_type) in local:
        return
    if node.op_type in _REACHING:
        yield unsafe(f"uses the operator {name}, which runs or opens what is not in the file")
    elif node.domain not in _DOMAINS:
        # The runtime refuses these, unless somebody gave it a library for them.
        yield judge_unknown(f"uses the operator {name}, which no known operator set has")


def _data_faults(tensor: Any, folder: Path) -> Iterator[Judgement]:
    if not tensor.external_data and tensor.data_location == 0:
        return
    entries = [(entry.key, entry.value) for entry in tensor.external_data]
    told = dict(entries)
    location = told.get("location", "")
    if len(told) != len(entries):
        yield judge_unknown(f"two places for the data of {tensor.name}")
    for place in (value for key, value in entries if key == "location"):
        if _leaves(place, folder):
            yield unsafe(f"reads {place}, outside the folder of the model")
            return
    path = folder / location
    try:
        offset, length = int(told.get("offset", "0")), int(told.get("length", "0"))
        size = path.stat().st_size if location and path.is_file() else -1
    except (OSError, ValueError, OverflowError):
        yield judge_unknown(f"external data of {tensor.name} that cannot be found")
        return
    if size < 0 or offset < 0 or length < 0 or offset + length > size:
        yield judge_unknown(f"external data that is not there: {location or tensor.name}")


def _leaves(location: str, folder: Path) -> bool:
    parts = location.replace("\\", "/").split("/")
    if location.startswith(("/", "\\", "~", "*")) or ".." in parts or "\x00" in location:
        return True
    if len(parts[0]) > 1 and parts[0][1] == ":":
        return True
    path = folder
    for part in parts:  # a link is refused wherever it points: it can be changed afterwards
        path = path / part
        if path.is_symlink():
            return True
    inside = os.path.realpath(path)
    return os.path.commonpath([inside, os.path.realpath(folder)]) != os.path.realpath(folder)
