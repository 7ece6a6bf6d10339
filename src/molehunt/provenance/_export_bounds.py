"""How much work an exported program asks for, told before torch builds it."""

from __future__ import annotations

import math
from typing import Any

from molehunt.provenance._judgement import UnreadContentError

_MOST_PARTS = 600_000  # lists and dicts; densenet201 has 40,000
_MOST_NODES = 100_000
_MOST_ELEMENTS = 2**26
# Arguments that say how large an answer is; those of views ask for nothing, and are smaller.
_SIZES = {"size", "sizes", "shape", "dims", "repeats", "output_size"}
_LENGTHS = {"end", "steps", "n", "m", "num_classes", "output_size", "repeats"}
_MAKERS = {"arange", "linspace", "logspace", "eye", "one_hot", "repeat_interleave"}


def check_counts(content: bytes, name: str) -> None:
    """Count the parts of JSON before they are made.

    Raises
    ------
    UnreadContentError
        If there are more than any network has.
    """
    if content.count(b"{") + content.count(b"[") > _MOST_PARTS:
        raise UnreadContentError(f"{name}: more than {_MOST_PARTS} lists and dicts")
    if content.count(b'"target"') > _MOST_NODES:
        raise UnreadContentError(f"{name}: more than {_MOST_NODES} nodes")


def size_fault(node: dict[str, Any]) -> str:
    """Return what a node asks for beyond any image, as far as its numbers tell, or nothing.

    Parameters
    ----------
    node : dict
        As in the file: ``target`` and ``inputs``, each with ``name`` and ``arg``.
    """
    target, inputs = node.get("target"), node.get("inputs")
    if not isinstance(target, str) or not isinstance(inputs, list):
        return ""
    name = target.removeprefix("torch.ops.aten.").partition(".")[0]
    sides: list[int] = []
    for given in inputs:
        key, numbers = given["name"], _numbers(given["arg"])
        if key in _SIZES and len(numbers) > 1:
            sides = numbers
        elif key in _LENGTHS and name in _MAKERS:
            sides += numbers * (2 if name == "eye" and key == "n" else 1)
        elif key == "pad":
            sides = [1 + max(0, each) for each in numbers]
        count = math.prod(max(1, abs(side)) for side in sides)
        if count > _MOST_ELEMENTS:
            return f"{name} of {count:.3g} elements, more than {_MOST_ELEMENTS}"
    return ""


def _numbers(argument: Any) -> list[int]:
    """Return the plain numbers of an argument; those that sizes of the input give are left out."""
    if not isinstance(argument, dict):
        return []
    found: list[int] = []
    for key, value in argument.items():
        values = value if isinstance(value, list) else [value]
        if key in ("as_sym_ints", "as_sym_int"):
            values = [each.get("as_int") for each in values if isinstance(each, dict)]
        if key in ("as_int", "as_ints", "as_sym_ints", "as_sym_int"):
            found += [each for each in values if isinstance(each, int)]
    return found
