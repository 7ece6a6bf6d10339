"""JSON of strangers, and the numbers in a server's, within bounds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import mismatch, printable

OUTPUTS = "outputs of the Open Inference Protocol"
PREDICTIONS = "predictions"
_LEAST_PARTS = 100_000
_MOST_OUTPUTS = 64


def read_json(content: bytes, most: int, allowed: str = "JSON") -> Any:
    """Return what JSON says that has at most `most` lists and dicts, and some.

    Raises
    ------
    ValueError
        If it is not JSON, or has more; in one line.
    """
    # A list takes 28 times the memory of the two characters that it is written with.
    parts = content.count(b"[") + content.count(b"{")
    if parts > most + _LEAST_PARTS:
        raise ValueError(mismatch("lists and dicts", f"at most {most + _LEAST_PARTS}", parts))
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(mismatch("JSON", "lists of a few levels", "hundreds")) from None
    except ValueError as error:
        start = printable(content[:40].decode(errors="replace"))
        got = f"{start!r} ({str(error)[:80]})" if content else "nothing"
        raise ValueError(f"expected {allowed}, got {got}") from None


def read_outputs(parsed: Any, count: int) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of the Open Inference Protocol by name, each [N, …].

    Raises
    ------
    ValueError
        If there are none, or they are no numbers for `count` images.
    """
    outputs = parsed.get("outputs") if isinstance(parsed, dict) else None
    if not isinstance(outputs, list) or not outputs:
        raise ValueError(f"expected {OUTPUTS}, got {_say(parsed)}")
    found: dict[str, NDArray[np.float32]] = {}
    for place, item in enumerate(outputs[:_MOST_OUTPUTS]):
        if not isinstance(item, dict) or "data" not in item:
            raise ValueError(mismatch("outputs", "each with name, shape and data", _say(item)))
        if item.get("datatype") == "BYTES" or (len(outputs) > 1 and _is_text(item["data"])):
            continue  # names of classes
        name = str(item.get("name", place))[:200]
        values = _numbers(item["data"], f"output {name}")
        shape = item.get("shape")
        if isinstance(shape, list) and all(isinstance(size, int) and size >= 0 for size in shape):
            if int(np.prod(shape, dtype=object)) != values.size:
                raise ValueError(
                    mismatch(f"output {name}: numbers", f"shape {shape[:8]}", values.size)
                )
            values = values.reshape(shape)
        found[name] = _rows(values, count, f"output {name}")
    if not found:
        raise ValueError(mismatch("outputs", "numbers", "text"))
    return found


def read_predictions(parsed: Any, count: int) -> dict[str, NDArray[np.float32]]:
    """Return TensorFlow Serving's predictions by name (one is ``0``), each [N, …].

    Raises
    ------
    ValueError
        As `read_outputs`.
    """
    rows = parsed.get("predictions") if isinstance(parsed, dict) else None
    if not isinstance(rows, list) or len(rows) != count:
        got = _say(parsed) if not isinstance(rows, list) else f"{len(rows)}"
        raise ValueError(f"expected {PREDICTIONS} of {count} images, got {got}")
    if not isinstance(rows[0], dict):
        return {"0": _rows(_numbers(rows, "predictions"), count, "predictions")}
    names = list(rows[0])[:_MOST_OUTPUTS]
    if not all(isinstance(row, dict) and set(names) <= set(row) for row in rows):
        raise ValueError(mismatch("predictions", "the same outputs for all images", "others"))
    found = {}
    for name in names:
        if not _is_text(rows[0][name]):  # names of classes
            values = _numbers([row[name] for row in rows], f"output {name[:200]}")
            found[name[:200]] = _rows(values, count, f"output {name[:200]}")
    if not found:
        raise ValueError(mismatch("predictions", "numbers", _say(rows[0])))
    return found


def _numbers(data: Any, what: str) -> NDArray[np.float32]:
    try:
        values = np.array(data)
    except ValueError:
        raise ValueError(mismatch(what, "rows of one length", "several lengths")) from None
    except OverflowError:
        raise ValueError(mismatch(what, "numbers", "too large ones")) from None
    if values.dtype.kind not in "fiu" and (values.dtype.kind != "O" or not _all_numbers(values)):
        raise ValueError(mismatch(what, "numbers", _kind_in(values)))
    return values.astype(np.float32)


def _is_text(value: Any) -> bool:
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, str | bool)


def _all_numbers(values: NDArray[Any]) -> bool:
    """Tell whether an array of objects holds whole numbers too large for 64 bits only."""
    return all(isinstance(value, int | float) for value in values.ravel())


def _kind_in(values: NDArray[Any]) -> str:
    if values.dtype.kind == "U":
        return "text"
    odd = next((v for v in values.ravel() if not isinstance(v, int | float)), True)
    return "null (some servers write NaN so)" if odd is None else _say(odd)


def _rows(values: NDArray[np.float32], count: int, what: str) -> NDArray[np.float32]:
    if values.ndim > 1 and len(values) == count:
        return values
    if values.size == 0 or values.size % count:
        raise ValueError(mismatch(f"{what}: numbers", f"a multiple of {count} images", values.size))
    return values.reshape(count, -1)


def _say(value: Any) -> str:
    """Say what a JSON value is, and what it says where it is an error."""
    if isinstance(value, dict):
        if "error" in value:
            return f"the error {printable(value['error'], 150)}"
        if len(value) == 1 and not next(iter(value.values())):
            return f"{printable(next(iter(value)), 40)} that are empty"
        names = ", ".join(printable(name, 40) for name in list(value)[:8])
        return f"a dict of {names}" if names else "an empty dict"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return "text"
    return {True: "true", False: "false", None: "null"}.get(value, "a number")
