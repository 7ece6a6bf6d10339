"""What runs in the child process of a trusted file; it is started by its path, alone.

Nothing of the file, and nothing that it names, is imported before the limits hold.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

MEMORY = 8 * 2**30  # bytes of address space, most of it PyTorch's own libraries
PROCESSOR_SECONDS = 600
HEADER = struct.Struct("<QII")  # of an answer: bytes that follow, rows, columns
SHAPE = struct.Struct("<IIII")  # of a question: N, C, H, W, before its pixels
FAILED = 2**32 - 1  # as rows: what follows is a line that says why
LONGEST_LINE = 2000  # bytes


class UnsuitableError(Exception):
    """What the file holds or answers is not what is needed; the message says it all."""


def main(
    descriptor: int,
    parent: int,
    kind: str,
    path: str,
    import_path: list[str],
    classes: int,
    output: str | None,
) -> None:
    """Give up rights, load the file, and answer images until the other side ends."""
    connection = socket.socket(fileno=descriptor)
    try:
        sys.path[:] = import_path
        from molehunt.confine import close_off, end_with_parent, set_limits  # noqa: PLC0415

        end_with_parent(parent)
        import torch  # noqa: PLC0415  # it asks the compiler for libraries, which then is denied

        torch.set_num_threads(1)
        tempfile.tempdir = str(Path.cwd())  # looking for one would mean to write
        set_limits(MEMORY, PROCESSOR_SECONDS)
        close_off(tempfile.tempdir)  # docs/loading.md says what is left where the kernel cannot
        model = _load(kind, path)
        connection.sendall(HEADER.pack(0, 0, 0))
        _serve(connection, model, classes, output)
    except EOFError:
        pass
    except BaseException as error:  # the file's code raises what it likes
        kind = "" if isinstance(error, UnsuitableError) else f"{type(error).__name__}: "
        line = f"{kind}{' '.join(str(error).split())}"
        content = line.encode(errors="replace")[:LONGEST_LINE]
        connection.sendall(HEADER.pack(len(content), FAILED, 0) + content)
    os._exit(0)  # none of its exit handlers


def receive(connection: socket.socket, size: int) -> bytearray:
    """Return exactly `size` bytes; EOFError where the other side ends before."""
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return parts


def _load(kind: str, path: str) -> nn.Module:
    import torch  # noqa: PLC0415

    if kind == "torchscript":
        script: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        return script.eval()
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        if "__main__" in str(error):
            raise UnsuitableError(
                f"{str(error).partition(' on <module')[0]}: the class was defined in the script "
                "that saved the file, and is not in it; load it there and save its state_dict"
            ) from error
        raise UnsuitableError(
            f"{error} (classes are looked up in installed packages and on PYTHONPATH, "
            "not in the current folder)"
        ) from error
    modules = [loaded]
    if isinstance(loaded, dict):
        modules = [value for value in loaded.values() if isinstance(value, torch.nn.Module)]
    if len(modules) != 1 or not isinstance(modules[0], torch.nn.Module):
        raise UnsuitableError(f"the file: expected one torch.nn.Module, got {describe(loaded)}")
    return modules[0].float().eval()


def _serve(connection: socket.socket, model: nn.Module, classes: int, output: str | None) -> None:
    """Answer images until the other side ends."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    while True:
        shape = SHAPE.unpack(receive(connection, SHAPE.size))
        content = receive(connection, 4 * int(np.prod(shape)))
        images = np.frombuffer(content, dtype="<f4").reshape(shape)
        with torch.inference_mode():
            tensor = tensor_in(model(torch.from_numpy(images)), classes, output)
            answers = tensor.float().cpu().numpy()
        if len(answers) != len(images):
            raise UnsuitableError(
                f"answers: expected one a image ({len(images)}), got shape {answers.shape}"
            )
        answers = np.ascontiguousarray(answers.reshape(len(answers), -1), dtype="<f4")
        connection.sendall(HEADER.pack(answers.nbytes, *answers.shape))
        connection.sendall(answers.tobytes())


def tensor_in(answer: Any, classes: int, output: str | None) -> Tensor:
    """Return the answers [N, K] in what a model answered, or a tensor of another shape.

    Raises
    ------
    UnsuitableError
        If it is none; the message says what it is.
    """
    import torch  # noqa: PLC0415

    if isinstance(answer, torch.Tensor) and answer.ndim >= 2 and output is None:
        return answer
    if not isinstance(answer, dict | list | tuple) and not hasattr(answer, "__dataclass_fields__"):
        raise UnsuitableError(f"answers: expected one tensor [N, K], got {describe(answer)}")
    # Only where it is needed: it takes as long to import as torch.
    from molehunt.errors import UnsuitableSubjectError  # noqa: PLC0415
    from molehunt.networks import logits_in  # noqa: PLC0415

    try:
        return logits_in(answer, classes, output)
    except UnsuitableSubjectError as error:
        raise UnsuitableError(str(error)) from None


def describe(value: Any, depth: int = 2) -> str:
    """Say in a few words what `value` is; of a container what is in it."""
    kind = type(value).__name__[:80]
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{kind} {list(shape)[:8]}"
    if not isinstance(value, dict | list | tuple) or not depth:
        return kind
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    inside = ", ".join(f"{str(key)[:40]}: {describe(item, depth - 1)}" for key, item in items[:5])
    return f"{kind} of {len(items)} ({inside}{', …' if len(items) > 5 else ''})"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], *json.loads(sys.argv[5]))
