"""The Open Inference Protocol's bodies: requests to images, answers to JSON or bytes.

The protocol is KServe's v2 over REST with Triton's binary tensor extension, as far as
``tritonclient.http`` uses it: a body may be JSON with raw tensors behind it, whose length in bytes
the header ``Inference-Header-Content-Length`` tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import mismatch, printable
from molehunt.guard._refusal import RefusedError
from molehunt.subjects import read_json

JSON_LENGTH = "inference-header-content-length"
INPUT = "images"
_TYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "UINT8": "|u1"}
DATATYPES = [*_TYPES]
_ROUNDING = 1e-4  # optimisers and resizing leave [0, 1] by rounding errors
_FEW_PARTS = 1000  # lists and dicts beside those of the images
_LONGEST_ID = 200


@dataclass(frozen=True)
class Asked:
    """A request that was read.

    Parameters
    ----------
    images : ndarray of float32, shape [N, C, H, W], in [0, 1]
    name : str
        The client's own, returned with the answer; may be empty.
    binary : bool
        Whether the answer's numbers go as bytes behind the JSON.
    """

    images: NDArray[np.float32]
    name: str = ""
    binary: bool = False


def read_request(
    body: bytes,
    headers: Mapping[str, str],
    *,
    shape: tuple[int, int, int],
    output: str,
    batch: int,
) -> Asked:
    """Read the body of an ``infer`` request.

    Parameters
    ----------
    body : bytes
    headers : mapping of str to str
        Of the request, their names in lower case.
    shape : (channels, height, width)
    output : str
        Name of the only output.
    batch : int
        Most images.

    Raises
    ------
    RefusedError
        400, or 415 for a compressed body; the message says what is wrong.

    Examples
    --------
    >>> tensor = {"name": "images", "shape": [1, 1, 1, 2], "datatype": "UINT8", "data": [0, 255]}
    >>> body = json.dumps({"inputs": [tensor]}).encode()
    >>> read_request(body, {}, shape=(1, 1, 2), output="logits", batch=8).images.tolist()
    [[[[0.0, 1.0]]]]
    """
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RefusedError(415, mismatch("Content-Encoding", "none", repr(printable(encoding, 40))))
    written, behind = _split(body, headers.get(JSON_LENGTH))
    try:
        parsed = read_json(written, _FEW_PARTS + batch * (1 + shape[0] * (1 + shape[1])))
    except ValueError as error:
        raise RefusedError(400, f"body: {error}") from None
    if not isinstance(parsed, dict):
        raise RefusedError(400, mismatch("body", "a JSON object with inputs", _say(parsed)))
    name = parsed.get("id", "")
    if not isinstance(name, str) or len(name) > _LONGEST_ID:
        raise RefusedError(400, mismatch("id", f"at most {_LONGEST_ID} characters", _say(name)))
    inputs = parsed.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RefusedError(400, mismatch("inputs", "a list of one tensor", _say(inputs)))
    return Asked(_images(inputs[0], behind, shape, batch), name, _wants_bytes(parsed, output))


def write_answer(
    answers: NDArray[np.float32], asked: Asked, *, model: str, output: str
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of an answer.

    Parameters
    ----------
    answers : ndarray of float32, shape [N, K]
    asked : Asked
    model, output : str
        Their names.
    """
    tensor: dict[str, Any] = {"name": output, "datatype": "FP32", "shape": list(answers.shape)}
    raw = b""
    if asked.binary:
        raw = answers.astype("<f4").tobytes()
        tensor["parameters"] = {"binary_data_size": len(raw)}
    else:
        tensor["data"] = answers.ravel().tolist()
    said: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": [tensor]}
    if asked.name:
        said["id"] = asked.name
    written = json.dumps(said).encode()
    if not asked.binary:
        return written, {"content-type": "application/json"}
    length = {JSON_LENGTH: str(len(written))}
    return written + raw, {"content-type": "application/octet-stream", **length}


def _split(body: bytes, length: str | None) -> tuple[bytes, bytes]:
    """Return the JSON and the raw tensors behind it."""
    if length is None:
        return body, b""
    if not re.fullmatch(r"\d{1,12}", length, re.ASCII) or int(length) > len(body):
        allowed = f"at most the body's {len(body)} bytes"
        raise RefusedError(400, mismatch(JSON_LENGTH, allowed, repr(printable(length, 40))))
    return body[: int(length)], body[int(length) :]


def _images(
    tensor: dict[str, Any], behind: bytes, shape: tuple[int, int, int], batch: int
) -> NDArray[np.float32]:
    if tensor.get("name") != INPUT:
        raise RefusedError(400, mismatch("input's name", repr(INPUT), _say(tensor.get("name"))))
    datatype, told = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str) or datatype not in _TYPES:
        raise RefusedError(400, mismatch(f"{INPUT}: datatype", ", ".join(_TYPES), _say(datatype)))
    if not isinstance(told, list) or told[1:] != list(shape) or not _is_count(told[0]):
        allowed = f"[N, {', '.join(map(str, shape))}]"
        got = str(told[:8]) if isinstance(told, list) else _say(told)
        raise RefusedError(400, mismatch(f"{INPUT}: shape", allowed, printable(got, 80)))
    if told[0] > batch:
        # In Triton's words, which clients know how to read.
        message = f"inference request batch-size must be <= {batch} for '{INPUT}', got {told[0]}"
        raise RefusedError(400, message)
    values = _values(tensor, datatype, behind)
    if values.size != told[0] * int(np.prod(shape)):
        what = f"{INPUT}: numbers"
        raise RefusedError(400, mismatch(what, f"as many as shape {told} has", values.size))
    return _in_range(values, datatype).reshape(told[0], *shape)


def _values(tensor: dict[str, Any], datatype: str, behind: bytes) -> NDArray[Any]:
    parameters = tensor.get("parameters", {})
    if not isinstance(parameters, dict) or "shared_memory_region" in parameters:
        got = "shared memory" if isinstance(parameters, dict) else _say(parameters)
        raise RefusedError(400, mismatch(f"{INPUT}: parameters", "binary_data_size", got))
    kind = np.dtype(_TYPES[datatype])
    if "binary_data_size" in parameters:
        size = parameters["binary_data_size"]
        if not _is_count(size) or size != len(behind) or size % kind.itemsize:
            allowed = f"the {len(behind)} bytes behind the JSON, a multiple of {kind.itemsize}"
            raise RefusedError(400, mismatch("binary_data_size", allowed, _say(size)))
        return np.frombuffer(behind, kind)
    if datatype == "FP16":
        raise RefusedError(400, mismatch(f"{INPUT}: FP16", "binary data", "JSON"))
    try:
        values = np.array(tensor.get("data"))
    except (ValueError, OverflowError):
        raise RefusedError(
            400, mismatch(f"{INPUT}: data", "rows of one length", "others")
        ) from None
    if values.dtype.kind not in "fiu":
        got = "text" if values.dtype.kind == "U" else _say(tensor.get("data"))
        raise RefusedError(400, mismatch(f"{INPUT}: data", "numbers", got))
    return values.ravel()


def _in_range(values: NDArray[Any], datatype: str) -> NDArray[np.float32]:
    """Return pixels in [0, 1]."""
    top = 255 if datatype == "UINT8" else 1
    slack = _ROUNDING if top == 1 else 0
    low, high = float(values.min()), float(values.max())
    if not (low >= -slack and high <= top + slack):  # NaN is in no range
        got = f"{low:.4g} to {high:.4g}"
        raise RefusedError(400, mismatch(f"{INPUT}: {datatype}", f"pixels in [0, {top}]", got))
    if datatype == "UINT8":
        if values.dtype.kind == "f" and bool((values % 1).any()):
            raise RefusedError(400, mismatch(f"{INPUT}: UINT8", "whole numbers", "fractions"))
        return values.astype(np.float32) / np.float32(255)
    return values.astype(np.float32).clip(0, 1)


def _wants_bytes(parsed: dict[str, Any], output: str) -> bool:
    """Tell how the output shall be sent; what cannot be given is refused."""
    general = parsed.get("parameters", {})
    wanted = parsed.get("outputs") or []
    if not isinstance(general, dict) or not isinstance(wanted, list) or len(wanted) > 1:
        raise RefusedError(400, mismatch("outputs", f"{output!r} or none", _say(wanted)))
    if not wanted:
        return general.get("binary_data_output") is True
    item = wanted[0]
    if not isinstance(item, dict) or item.get("name") != output:
        got = _say(item.get("name") if isinstance(item, dict) else item)
        raise RefusedError(400, mismatch("outputs: name", repr(output), got))
    chosen = item.get("parameters", {})
    if not isinstance(chosen, dict) or {"classification", "shared_memory_region"} & chosen.keys():
        raise RefusedError(400, mismatch("outputs: parameters", "binary_data", _say(chosen)))
    return chosen.get("binary_data", general.get("binary_data_output")) is True


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _say(value: Any) -> str:
    """Say what a JSON value is, briefly."""
    if isinstance(value, dict | list):
        return f"{'a dict' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return "nothing" if value is None else printable(repr(value), 60)
