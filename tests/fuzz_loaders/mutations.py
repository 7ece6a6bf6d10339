"""Changes of valid files: at random in the bytes, and in what those bytes mean."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

_ODD: tuple[Any, ...] = (
    *(0, 1, -1, 2, 7, 255, 65536, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64),
    *(10**30, -(2**63), 1e308, 1e-320, float("nan"), float("inf"), True, None, "", "x", "0"),
    *("\x1b[31m[/b]", "\u202e", "a/../b", "A" * 3000, [], {}, [[]], [0] * 50),
)
_OPERATORS = (
    *("Relu", "Loop", "If", "Scan", "Conv", "MatMul", "Reshape", "Expand", "Range", "Tile"),
    *("ConstantOfShape", "NonZero", "TopK", "Gather", "Resize", "Einsum", "LSTM", "Unique"),
    *("RandomNormal", "StringNormalizer", "DFT", "Attention", "MaxUnpool", "CumSum", "Pad"),
)
Change = Callable[[bytes, Random], bytes]


def change_bytes(content: bytes, random: Random) -> bytes:
    """Flip, overwrite, delete, repeat or cut a few places."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 4, 16])):
        if not changed:
            break
        at = random.randrange(len(changed))
        match random.randrange(7):
            case 0:
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                changed[at] = random.choice([0, 1, 127, 128, 255])
            case 2:
                odd = random.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
                changed[at : at + 4] = struct.pack("<I", odd)
            case 3:
                odd = random.choice([0, 1, 2**63 - 1, 2**63, 2**64 - 1])
                changed[at : at + 8] = struct.pack("<Q", odd)
            case 4:
                del changed[at : at + random.choice([1, 4, 16, 200])]
            case 5:
                source = random.randrange(len(changed))
                changed[at:at] = changed[source : source + random.choice([1, 8, 64])]
            case _ if random.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def change_head(content: bytes, random: Random) -> bytes:
    """Change bytes among the first thousand, where a format says what it is."""
    return change_bytes(content[:1000], random) + content[1000:]


def change_tree(tree: Any, random: Random) -> Any:
    """Replace, remove, repeat or move parts of nested lists and dicts."""
    changed = copy.deepcopy(tree)
    for _ in range(random.choice([1, 1, 2, 3])):
        paths = _paths(changed)
        if not paths:
            break
        *way, last = random.choice(paths)
        holder = _at(changed, way)
        match random.randrange(5):
            case 0 | 1:
                holder[last] = copy.deepcopy(random.choice(_ODD))
            case 2:
                del holder[last]
            case 3 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[last]))
            case 3:
                key = random.choice(["x", "", "a.b", "\u202e", f"{last}_"])
                holder[key] = copy.deepcopy(holder[last])
            case _:
                other = _at(changed, random.choice(paths))
                if len(json.dumps(other)) < 20_000:
                    holder[last] = copy.deepcopy(other)
    return changed


def _paths(tree: Any) -> list[list[Any]]:
    found: list[list[Any]] = []
    waiting: list[tuple[Any, list[Any]]] = [(tree, [])]
    while waiting and len(found) < 5000:
        node, way = waiting.pop()
        if way:
            found.append(way)
        if isinstance(node, dict):
            waiting += [(value, [*way, key]) for key, value in node.items()]
        elif isinstance(node, list):
            waiting += [(value, [*way, at]) for at, value in enumerate(node[:40])]
    return found


def _at(tree: Any, way: list[Any]) -> Any:
    for step in way:
        tree = tree[step]
    return tree


def change_json(content: bytes, random: Random) -> bytes:
    return json.dumps(change_tree(json.loads(content), random)).encode()


def change_header(content: bytes, random: Random) -> bytes:
    """Change the header of a safetensors file, or a card in it."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    cards = header.get("__metadata__", {})
    if cards and random.random() < 0.6:
        key = random.choice(list(cards))
        try:
            cards[key] = json.dumps(change_tree(json.loads(cards[key]), random))
        except json.JSONDecodeError:
            cards[key] = "\x1b[2J"
    else:
        header = change_tree(header, random)
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)
    return struct.pack("<Q", len(said)) + said + content[8 + length :]


def change_numbers(content: bytes, random: Random) -> bytes:
    """Put numbers that are none, or huge, into the last half of a file."""
    changed = bytearray(content)
    for _ in range(20):
        at = random.randrange(len(changed) // 2, len(changed) - 4) & ~3
        odd = random.choice([float("nan"), float("inf"), 1e38, -1e38, 0.0, 1e-40])
        changed[at : at + 4] = struct.pack("<f", odd)
    return bytes(changed)


def change_member(content: bytes, random: Random) -> bytes:
    """Change one member of a zip archive, its JSON as a tree; programs and pickles more often."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(item.filename, archive.read(item)) for item in archive.infolist()]
    telling = [at for at, (name, _) in enumerate(members) if name.endswith((".json", ".pkl"))]
    at = (
        random.choice(telling)
        if telling and random.random() < 0.8
        else random.choice(range(len(members)))
    )
    name, inside = members[at]
    change = change_json if name.endswith(".json") else change_bytes
    members[at] = name, change(inside, random)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, inside in members:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), inside)
    return stream.getvalue()


def change_graph(content: bytes, random: Random) -> bytes:
    """Change operators, attributes, inputs and constants of an ONNX graph."""
    import onnx  # noqa: PLC0415

    model = onnx.ModelProto()
    model.ParseFromString(content)
    graph = model.graph
    for _ in range(random.choice([1, 2, 3])):
        node, tensor = random.choice(graph.node), random.choice(graph.initializer)
        match random.randrange(7):
            case 0:
                node.op_type = random.choice(_OPERATORS)
            case 1:
                node.domain = random.choice(["", "com.microsoft", "ai.onnx.ml", "x"])
            case 2 if node.attribute:
                sizes = [random.choice([0, -1, 1, 2**31, 2**62, 7]) for _ in range(4)]
                random.choice(node.attribute).ints[:] = sizes
            case 3 if node.input:
                names = ["", "x", "images", "logits", *(item.name for item in graph.initializer)]
                node.input[random.randrange(len(node.input))] = random.choice(names)
            case 4:
                tensor.dims[:] = [random.choice([0, -1, 1, 2**31, 2**62, 3]) for _ in range(3)]
            case 5:
                tensor.data_type = random.randrange(30)
            case _:
                model.opset_import[0].version = random.choice([1, 9, 13, 17, 21, 25, 99, -1])
    return bytes(model.SerializeToString())


_BYTES: tuple[Change, ...] = (change_bytes, change_head)
CHANGES: dict[str, tuple[Change, ...]] = {
    **dict.fromkeys(
        ("safetensors", "bare safetensors", "detector"),
        (*_BYTES, change_header, change_header, change_numbers),
    ),
    **dict.fromkeys(
        ("torch zip", "torch.export", "TorchScript", "npz"),
        (*_BYTES, change_member, change_member, change_member),
    ),
    "torch legacy": (*_BYTES, change_numbers),
    "ONNX": (*_BYTES, change_graph, change_graph),
    **dict.fromkeys(("shards", "plan in JSON"), (*_BYTES, change_json, change_json, change_json)),
    **dict.fromkeys(("contract", "plan in TOML", "plan in YAML"), _BYTES),
}
