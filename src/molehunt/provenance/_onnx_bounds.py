"""How many parts an ONNX model has, told before they are made.

A part takes two bytes in the file and hundreds in memory; functions that call each other
twice, thirty deep, are a billion nodes. The bounds are far above any network for images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from molehunt.provenance._judgement import UnreadContentError

_MOST_FIELDS = 500_000
_MOST_NODES = 100_000


def check_counts(content: bytes, kind: Any) -> None:
    """Count the fields and nodes in protobuf's encoding, before any of them is made.

    Parameters
    ----------
    content : bytes
    kind : Descriptor
        Of the message that `content` is, such as ``onnx.ModelProto.DESCRIPTOR``.

    Raises
    ------
    UnreadContentError
        If there are more than any network has.
    ValueError
        If it is no such message.
    """
    fields = nodes = 0
    tables: dict[str, dict[int, Any]] = {}
    waiting = [(0, len(content), kind)]
    while waiting:
        at, end, kind = waiting.pop()
        inner = tables.setdefault(
            kind.full_name, {field.number: field.message_type for field in kind.fields}
        )
        while at < end:
            tag, at = _varint(content, at)
            number, wire = tag >> 3, tag & 7
            fields += 1
            if wire == 0:
                _, at = _varint(content, at)
            elif wire == 2:
                length, at = _varint(content, at)
                if inner.get(number) is not None:
                    waiting.append((at, at + length, inner[number]))
                    nodes += inner[number].name == "NodeProto"
                at += length
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise ValueError("a group, which ONNX does not have")
            if fields > _MOST_FIELDS or nodes > _MOST_NODES:
                most = f"{_MOST_NODES} nodes and {_MOST_FIELDS} fields"
                raise UnreadContentError(f"a graph of more than {most}")
        if at > end:
            raise ValueError("a field that is longer than its message")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(at + 10, len(content))):
        byte = content[position]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position + 1
        shift += 7
    raise ValueError("a number that does not end")


def expansion_fault(model: Any) -> str:
    """Return what is wrong with the calls among a model's own functions, or nothing.

    The runtime writes each call out, so that the nodes after that are counted.
    """
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
    sizes: dict[Any, int] = {}
    waiting: list[tuple[Any, bool]] = [(key, False) for key in functions]
    open_calls: set[Any] = set()
    while waiting:
        key, seen = waiting.pop()
        if key in sizes:
            continue
        called = [each for each in map(_key, _nodes_in(functions[key])) if each in functions]
        if seen:
            own = sum(1 for _ in _nodes_in(functions[key]))
            sizes[key] = own + sum(sizes[each] for each in called)
            open_calls.discard(key)
            continue
        open_calls.add(key)
        if any(each in open_calls for each in called):
            return "functions that call themselves"
        waiting.append((key, True))
        waiting += [(each, False) for each in called if each not in sizes]
    total = sum(sizes.get(_key(node), 1) for node in _nodes_in(model.graph))
    if total > _MOST_NODES:
        return f"functions that call each other {total:.3g} times"
    return ""


def _key(node: Any) -> tuple[str, str, str]:
    return node.domain, node.op_type, getattr(node, "overload", "")


def _nodes_in(part: Any) -> Iterator[Any]:
    """Yield the nodes of a graph or function, and of all graphs inside it."""
    waiting = [part]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs
