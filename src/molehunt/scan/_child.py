"""What runs in the child process of a trusted file: ``python -m molehunt.scan._child``."""

from __future__ import annotations

import resource
import socket
import sys

import numpy as np
import torch
from torch import nn

from molehunt.scan._sandbox import HEADER, MEMORY, PROCESSOR_SECONDS, SHAPE, received


def serve(connection: socket.socket, model: nn.Module) -> None:
    """Answer images until the other side ends."""
    connection.sendall(HEADER.pack(0, 0, 0))
    while True:
        try:
            shape = SHAPE.unpack(received(connection, SHAPE.size))
            content = received(connection, 4 * int(np.prod(shape)))
        except EOFError:
            return
        images = np.frombuffer(bytearray(content), dtype="<f4").reshape(shape)
        with torch.inference_mode():
            answers = model(torch.from_numpy(images)).float().numpy()
        answers = np.ascontiguousarray(answers.reshape(len(answers), -1), dtype="<f4")
        connection.sendall(HEADER.pack(answers.nbytes, *answers.shape))
        connection.sendall(answers.tobytes())


def main(descriptor: int, kind: str, path: str) -> None:
    """Set the limits, load the file, and serve it."""
    torch.set_num_threads(1)
    connection = socket.socket(fileno=descriptor)
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, PROCESSOR_SECONDS),
        (resource.RLIMIT_FSIZE, 0),  # no file can grow
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    if kind == "torchscript":
        model = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    else:
        model = torch.load(path, map_location="cpu", weights_only=False)
    serve(connection, model.eval())


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    except Exception as error:  # one line for the parent to show
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
