"""A guard's server in a thread of this process, on a free port of the loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import urllib3

from molehunt.guard import Guard, Serving, listen, make_server
from molehunt.images import load_images
from molehunt.networks import Classifier, build_classifier

DIGITS = load_images("digits", size=12)
PIXELS = DIGITS.test.pixels()
SHAPE = (1, 12, 12)
MODEL = build_classifier("mlp", DIGITS.train, arguments={"hidden": [16]}, seed=0)
POOL = urllib3.PoolManager(retries=False)


@contextmanager
def serving(
    guard: Guard | None = None, *, model: Classifier = MODEL, **settings: Any
) -> Iterator[int]:
    """Yield the port of a server of a model."""
    pytest.importorskip("starlette", reason='the extra "guard" is not installed')
    server = make_server(model, guard, Serving(**settings))
    listening = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listening.close()


def tensor(images: torch.Tensor, **changes: Any) -> dict[str, Any]:
    """Return images as the protocol's only input."""
    usual = {"name": "images", "datatype": "FP32", "shape": list(images.shape)}
    return {**usual, "data": images.flatten().tolist(), **changes}


def ask(
    port: int,
    images: torch.Tensor = PIXELS[:1],
    *,
    key: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any, Mapping[str, str]]:
    """Send images, or any body; return the status, what was said, and the headers."""
    content = json.dumps({"inputs": [tensor(images)]}).encode() if body is None else body
    more = {"Content-Type": "application/json", **(headers or {})}
    if key is not None:
        more["Authorization"] = f"Bearer {key}"
    url = f"http://127.0.0.1:{port}/v2/models/model/infer"
    reply = POOL.request("POST", url, body=content, headers=more, timeout=20)
    return reply.status, json.loads(reply.data), reply.headers


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    """Return the status and the text of a page."""
    reply = POOL.request("GET", f"http://127.0.0.1:{port}{path}", headers=headers, timeout=20)
    return reply.status, reply.data.decode()


def answers(said: Mapping[str, Any]) -> np.ndarray:
    """Return the numbers of an answer."""
    (output,) = said["outputs"]
    return np.array(output["data"], dtype=np.float32).reshape(output["shape"])
