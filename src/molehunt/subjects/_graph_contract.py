"""What a graph says of its own input contract: ONNX and torch.export files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molehunt.provenance import FileFormat, load_exported
from molehunt.subjects._contract import parse_contract
from molehunt.subjects._found_contract import Claim

_NAMES = ("names", "class_names", "classes", "labels")
_NUMBERED = re.compile(r"""(\d+)\s*:\s*(?:'([^']*)'|"([^"]*)")""")
_MOST_CHANNELS = 4
_LONGEST = 2**20  # characters of a list of names


def claims_of_graph(path: Path, form: FileFormat) -> Iterator[Claim]:
    """Yield the shape of a graph's images and the names or number of its classes.

    The file was inspected before. Where its shapes are open or it has several inputs or
    outputs, it says nothing.
    """
    try:
        read = _read_onnx if form is FileFormat.ONNX else _read_exported
        fields = {name: value for name, value in read(path).items() if value}
        where = "as the graph says"
        if fields:
            yield Claim(parse_contract(where, fields), where)
    except Exception:  # opening it says what is wrong
        return


def _read_onnx(path: Path) -> dict[str, Any]:
    import onnx  # noqa: PLC0415  # an extra

    model = onnx.load_model(str(path), load_external_data=False)
    weights = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in weights]
    outputs = [
        [side.dim_value for side in item.type.tensor_type.shape.dim] for item in model.graph.output
    ]
    shape = None
    if len(inputs) == 1:
        sides = [side.dim_value for side in inputs[0].type.tensor_type.shape.dim]
        shape = _image_shape(sides)
    fields = _classes(outputs)
    properties = {item.key.lower(): item.value for item in model.metadata_props}
    names = next((_parse_names(properties[key]) for key in _NAMES if key in properties), None)
    if names and len(names) == fields.get("classes", len(names)):
        fields = {"class_names": names}
    return {"input_shape": shape, **fields}


def _read_exported(path: Path) -> dict[str, Any]:
    program = load_exported(path)  # never the stranger's own archive
    signature = program.graph_signature
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [values[name] for name in signature.user_inputs if isinstance(name, str)]
    outputs = [values[name] for name in signature.user_outputs if isinstance(name, str)]
    shapes = [[_side(side) for side in value.shape] for value in [*inputs, *outputs]]
    shape = _image_shape(shapes[0]) if len(inputs) == 1 else None
    return {"input_shape": shape, **_classes(shapes[len(inputs) :])}


def _side(side: Any) -> int:
    return side if isinstance(side, int) else 0


def _image_shape(sides: Sequence[int]) -> tuple[int, int, int] | None:
    """Return (channels, height, width) of [N, C, H, W] or [N, H, W, C]; None where it is open."""
    if len(sides) != 4 or min(sides[1:]) < 1:
        return None
    _, first, second, third = sides
    if first > _MOST_CHANNELS >= third:
        return third, first, second
    return first, second, third


def _classes(outputs: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the width of the one output that is a row, or a number, an image."""
    widths = [sides[1] for sides in outputs if len(sides) == 2]
    if len(outputs) == 1 and len(outputs[0]) == 1:
        widths = [1]
    return {"classes": widths[0]} if len(widths) == 1 and widths[0] > 0 else {}


def _parse_names(text: str) -> tuple[str, ...]:
    """Return names in the order of the classes, from JSON, ``{0: 'cat'}`` or a list with commas."""
    if len(text) > _LONGEST:
        return ()
    numbered: Mapping[Any, Any] = {number: a or b for number, a, b in _NUMBERED.findall(text)}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = numbered or [name.strip() for name in re.split(r"[,\n]", text.strip())]
    if isinstance(content, dict):
        by_number = {int(number): name for number, name in content.items()}
        content = [by_number[number] for number in range(len(by_number))]
    is_list = isinstance(content, list) and all(isinstance(name, str) for name in content)
    return tuple(content) if is_list else ()
