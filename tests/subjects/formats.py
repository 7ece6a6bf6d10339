"""Real models written in every format that a scan opens, and a real server."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from molehunt.networks import Classifier


def example(model: Classifier, count: int = 2) -> torch.Tensor:
    return torch.rand(count, *model.card.input_shape, generator=torch.Generator().manual_seed(0))


def state_dict(model: Classifier, path: Path) -> None:
    torch.save(model.network.state_dict(), path)


def legacy(model: Classifier, path: Path) -> None:
    torch.save(model.network.state_dict(), path, _use_new_zipfile_serialization=False)


def checkpoint(model: Classifier, path: Path) -> None:
    """As a training script writes it: nested, with a wrapper's prefix and an optimiser."""
    weights = {f"module.{name}": value for name, value in model.network.state_dict().items()}
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    torch.save({"epoch": 3, "state_dict": weights, "optimizer": optimizer.state_dict()}, path)


def bare_safetensors(model: Classifier, path: Path) -> None:
    save_file({name: t.contiguous() for name, t in model.network.state_dict().items()}, path)


def exported(model: Classifier, path: Path) -> None:
    count = {0: torch.export.Dim("count", min=1, max=4096)}
    program = torch.export.export(model.network, (example(model),), dynamic_shapes=(count,))
    torch.export.save(program, path)


def exported_one_by_one(model: Classifier, path: Path) -> None:
    torch.export.save(torch.export.export(model.network, (example(model, 1),)), path)


def onnx(model: Classifier, path: Path) -> None:
    axes = {"images": {0: "count"}, "logits": {0: "count"}}
    _onnx(model.network, model, path, axes)


def onnx_probabilities_one_by_one(model: Classifier, path: Path) -> None:
    _onnx(torch.nn.Sequential(model.network, torch.nn.Softmax(1)), model, path, None, 1)


def _onnx(network: torch.nn.Module, model: Classifier, path: Path, axes: Any, count: int = 2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (example(model, count),),
            str(path),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes=axes,
            dynamo=False,
        )


def torchscript(model: Classifier, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model.network, example(model)).save(str(path))


def pickled(model: Classifier, path: Path) -> None:
    torch.save(model.network, path)


@contextmanager
def server(
    answer: Callable[[torch.Tensor], torch.Tensor],
    *,
    fail_first: int = 0,
    status: int = 503,
    protocol: str = "v2",
    body: bytes | None = None,
    seconds: float = 0.0,
) -> Iterator[tuple[str, list[int]]]:
    """A real HTTP server on a free port: its URL, and the number of images of each request."""
    asked: list[int] = []
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if protocol == "v2":
                (tensor,) = content["inputs"]
                images = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
            else:
                images = np.array(content["instances"], np.float32)
            asked.append(len(images))
            ended.wait(seconds)
            code = status if len(asked) <= fail_first else 200
            with torch.no_grad():
                answers = answer(torch.from_numpy(images)).numpy()
            if protocol == "v2":
                data = answers.ravel().tolist()
                said: Any = {"outputs": [{"name": "logits", "data": data}]}
            else:
                said = {"predictions": answers.tolist()}
            reply = body if body is not None else json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/v2/models/m/infer", asked
        finally:
            ended.set()
            running.shutdown()
