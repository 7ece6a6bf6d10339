"""Real servers on free ports of the loopback: honest ones with habits, and hostile ones."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

# What a server says to a request: status, content (JSON or bytes), more headers.
Said = tuple[int, Any, dict[str, str]]


def ten(images: torch.Tensor) -> torch.Tensor:
    """The model behind all of them: ten of the numbers that it was sent."""
    return images.flatten(1)[:, :10]


def images_of(asked: dict) -> torch.Tensor:
    (tensor,) = asked["inputs"]
    return torch.tensor(tensor["data"], dtype=torch.float32).reshape(tensor["shape"])


def outputs(answers: torch.Tensor, name: str = "logits") -> dict:
    return {
        "name": name,
        "datatype": "FP32",
        "shape": list(answers.shape),
        "data": answers.flatten().tolist(),
    }


@contextmanager
def serve(
    post: Callable[[str, dict, dict[str, str]], Said],
    metadata: dict[str, Any] | None = None,
) -> Iterator[str]:
    """Answer POST with `post(path, content, headers)` and GET with what `metadata` has there."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(*post(self.path, content, dict(self.headers)))

        def do_GET(self) -> None:
            found = (metadata or {}).get(self.path.partition("?")[0])
            self._say(404 if found is None else 200, found or {"error": "unknown"}, {})

        def _say(self, status: int, content: Any, headers: dict[str, str]) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()


@contextmanager
def drip(first: bytes, then: bytes, scheme: str = "http") -> Iterator[str]:
    """Answer every connection with `first`, and then with `then` ten times a second."""
    ended = threading.Event()

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(first)
                while not ended.wait(0.1):
                    connection.sendall(then)
            except OSError:
                return

    def accept(listening: socket.socket) -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        try:
            yield f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/v2/models/m/infer"
        finally:
            ended.set()
            listening.close()
