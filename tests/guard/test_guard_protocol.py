"""The Open Inference Protocol: what is read, what is refused, and by which words."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch

from molehunt.guard import RefusedError
from molehunt.guard._protocol import read_request, write_answer
from tests.guard.guard_servers import PIXELS, SHAPE, tensor

TWO = PIXELS[:2]


def read(content: Any, raw: bytes = b"", headers: dict[str, str] | None = None) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    more = {"inference-header-content-length": str(len(body))} if raw else {}
    return read_request(
        body + raw, {**more, **(headers or {})}, shape=SHAPE, output="logits", batch=4
    )


def with_raw(raw: bytes, datatype: str, **changes: Any) -> dict[str, Any]:
    sent = {
        "datatype": datatype,
        "shape": [2, *SHAPE],
        "parameters": {"binary_data_size": len(raw)},
    }
    return {"inputs": [{"name": "images", **sent, **changes}]}


@pytest.mark.parametrize("form", ["flat", "nested", "FP64", "FP16", "FP32", "UINT8", "bytes"])
def test_every_form_is_the_same_images(form: str) -> None:
    shades = TWO.mul(255).round()
    if form == "flat":
        asked = read({"id": "7", "inputs": [tensor(TWO)]})
        assert asked.name == "7" and not asked.binary
    elif form == "nested":
        asked = read({"inputs": [tensor(TWO, data=TWO.tolist())]})
    elif form == "bytes":
        whole = shades.int().flatten().tolist()
        asked = read({"inputs": [tensor(TWO, datatype="UINT8", data=whole)]})
    else:
        kind = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "UINT8": "u1"}[form]
        raw = (shades if form == "UINT8" else TWO).numpy().astype(kind).tobytes()
        asked = read(with_raw(raw, form), raw)
    assert asked.images.dtype == np.float32 and asked.images.shape == (2, *SHAPE)
    near = 1e-3 if form == "FP16" else 1 / 500
    assert np.abs(asked.images - TWO.numpy()).max() < near


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (b"", "body: expected JSON, got nothing"),
        (b"\xff\x00{", "body: expected JSON"),
        (b"[" * 100_000, "body: expected JSON|lists"),
        (b"[1]", "expected a JSON object with inputs, got a list of 1"),
        ({"inputs": []}, "inputs: expected a list of one tensor"),
        ({"inputs": [tensor(TWO)] * 2}, "inputs: expected a list of one tensor"),
        ({"inputs": [tensor(TWO)], "id": 5}, "id: expected"),
        ({"inputs": [tensor(TWO, name="x")]}, "input's name: expected 'images', got 'x'"),
        ({"inputs": [tensor(TWO, datatype="BYTES")]}, "datatype: expected FP16, FP32"),
        ({"inputs": [tensor(TWO, datatype=["FP32"])]}, "datatype: expected FP16, FP32"),
        ({"inputs": [tensor(TWO, shape=[2, 144])]}, r"shape: expected \[N, 1, 12, 12\]"),
        ({"inputs": [tensor(TWO, shape=[True, *SHAPE])]}, "shape: expected"),
        ({"inputs": [tensor(TWO, shape=[0, *SHAPE])]}, "shape: expected"),
        ({"inputs": [tensor(TWO, shape=[10**30, *SHAPE])]}, "batch-size must be <= 4"),
        ({"inputs": [tensor(TWO, shape=[3, *SHAPE])]}, "numbers: expected as many"),
        ({"inputs": [tensor(TWO, data=["0.5"] * 288)]}, "data: expected numbers, got text"),
        ({"inputs": [tensor(TWO, data=[True] * 288)]}, "data: expected numbers"),
        ({"inputs": [tensor(TWO, data=[[1], [1, 2]])]}, "data: expected rows of one length"),
        ({"inputs": [tensor(TWO, data=None)]}, "data: expected numbers, got nothing"),
        ({"inputs": [tensor(TWO, data=[10**400] * 288)]}, "data: expected numbers"),
        ({"inputs": [tensor(TWO, data=[float("nan")] * 288)]}, r"expected pixels in \[0, 1\]"),
        ({"inputs": [tensor(TWO * 255)]}, r"expected pixels in \[0, 1\]"),
        ({"inputs": [tensor(TWO, datatype="UINT8", data=[0.5] * 288)]}, "whole numbers"),
        ({"inputs": [tensor(TWO, datatype="UINT8", data=[256] * 288)]}, r"in \[0, 255\]"),
        ({"inputs": [tensor(TWO, datatype="FP16")]}, "FP16: expected binary data"),
        ({"inputs": [tensor(TWO, parameters={"shared_memory_region": "r"})]}, "shared memory"),
        ({"inputs": [tensor(TWO, parameters={"binary_data_size": 8})]}, "binary_data_size"),
        ({"inputs": [tensor(TWO)], "outputs": [{"name": "x"}]}, "outputs: name: expected 'logits'"),
        ({"inputs": [tensor(TWO)], "outputs": {"name": 1}}, "outputs: expected"),
        (
            {
                "inputs": [tensor(TWO)],
                "outputs": [{"name": "logits", "parameters": {"classification": 3}}],
            },
            "outputs: parameters",
        ),
    ],
)
def test_what_is_not_the_protocol_is_named(change: Any, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        read(change)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 300


def test_raw_tensors_have_the_length_that_is_told() -> None:
    raw = TWO.numpy().tobytes()
    for wrong, length in ((raw[:-1], len(raw)), (raw + b"1", len(raw)), (raw, -1), (raw, 2**70)):
        content = with_raw(raw, "FP32", parameters={"binary_data_size": length})
        with pytest.raises(RefusedError, match="binary_data_size: expected"):
            read(content, wrong)
    for told in ("-1", "1e3", "99999999", "9" * 5000):
        with pytest.raises(RefusedError, match="inference-header-content-length"):
            read(b"{}", headers={"inference-header-content-length": told})


def test_a_compressed_body_is_not_unpacked() -> None:
    with pytest.raises(RefusedError) as caught:
        read(b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("request_", "binary"),
    [
        ({}, False),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}, True),
        ({"outputs": [{"name": "logits"}], "parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "logits", "parameters": {"binary_data": False}}]}, False),
    ],
)
def test_an_answer_comes_as_it_was_asked_for(request_: dict, binary: bool) -> None:
    asked = read({"id": "a", "inputs": [tensor(TWO)], **request_})
    numbers = torch.rand(2, 10, generator=torch.Generator().manual_seed(0)).numpy()
    body, headers = write_answer(numbers, asked, model="m", output="logits")
    length = int(headers.get("inference-header-content-length", len(body)))
    said = json.loads(body[:length])
    assert said["id"] == "a" and said["model_name"] == "m"
    (output,) = said["outputs"]
    got = np.frombuffer(body[length:], "<f4") if binary else np.array(output["data"])
    assert np.allclose(got.reshape(output["shape"]), numbers)


ODD = [None, True, 0, -1, 1.0, 1e308, 10**40, "", "FP32", [], {}, [[]], "9" * 50, float("nan")]


def changed(value: Any, draw: random.Random) -> Any:
    """Return JSON with one thing in it changed for an odd one."""
    if draw.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return draw.choice(ODD)
    keys = [*value] if isinstance(value, dict) else range(len(value))
    chosen = draw.choice(keys)
    pairs = {key: changed(value[key], draw) if key == chosen else value[key] for key in keys}
    return pairs if isinstance(value, dict) else [*pairs.values()]


def test_odd_requests_are_refused_in_one_line_or_read() -> None:
    draw, refused = random.Random(0), 0
    raw = {"name": "logits", "parameters": {"binary_data": True}}
    usual = {"id": "a", "inputs": [tensor(TWO)], "outputs": [raw], "parameters": {}}
    fractions = {"inputs": [tensor(TWO, shape=[2, True, 12.0, 12])]}
    assert read(fractions).images.shape == (2, *SHAPE)
    for _ in range(400):
        content = changed(changed(usual, draw), draw) if draw.random() < 0.5 else usual
        body = bytearray(json.dumps(content).encode())
        for _ in range(draw.randrange(3)):
            body[draw.randrange(len(body))] = draw.randrange(256)
        try:
            assert read(bytes(body)).images.shape == (2, *SHAPE)
        except RefusedError as error:
            refused += 1
            assert error.status == 400 and len(str(error)) < 400
    assert 100 < refused < 400
