"""Modules for a trusted child: honest, clumsy and hostile. Each answers ten numbers an image."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def ten(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)[:, :10].contiguous()


class Answering(torch.nn.Module):
    """Answers what a function makes of the honest answer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: torch.Tensor) -> Any:
        return ANSWERS[self.kind](ten(images))


ANSWERS: dict[str, Callable[[torch.Tensor], Any]] = {
    "logits and features": lambda x: {"features": x[:, :4], "logits": x, "probabilities": -x},
    "a tuple": lambda x: (x, x[:, :, None, None].expand(-1, -1, 2, 2)),
    "nested": lambda x: {"head": {"logits": x}, "loss": None},
    "two tensors": lambda x: (x, x),
    "unlike names": lambda x: {"first": x, "second": x},
    "deep": lambda x: {"a": {"b": {"c": "text"}}},
    "text": lambda x: "ten",
    "one number each": lambda x: x[:, 0],
    "too few": lambda x: x[:1].expand(3, 10),
    "nothing": lambda x: None,
}


class Loud(torch.nn.Module):
    """Honest; it warns a lot."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for _ in range(100):
            os.write(2, b"warning: this is deprecated\n" * 400)
        return ten(images)


class Sleeping(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(1000)
        return ten(images)


class Dripping(torch.nn.Module):
    """Sends a byte now and then, and never an answer."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for _ in range(1000):
            for descriptor in range(3, 100):
                try:
                    os.write(descriptor, b"\0")
                except OSError:
                    continue
            time.sleep(0.1)
        return ten(images)


class Crashing(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        os.write(2, b"terminate called after throwing an instance of 'x'\x1b[2J\n")
        os.abort()


class Lying(torch.nn.Module):
    """Announces an answer of 400 GB."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for descriptor in range(3, 100):
            try:
                os.write(descriptor, (400_000_000_000).to_bytes(8, "little") + b"\xfe" * 8)
            except OSError:
                continue
        time.sleep(1000)
        return ten(images)


class Reaching(torch.nn.Module):
    """Tries what it is told to; number `i` of the answer is 1 where the i-th was refused."""

    def __init__(self, folder: Path, parent: int) -> None:
        super().__init__()
        self.folder, self.parent = folder, parent

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        refused = [float(self._refuses(attempt)) for attempt in attempts(self.folder, self.parent)]
        return torch.tensor([refused]).expand(len(images), -1)

    def _refuses(self, attempt: Callable[[], object]) -> bool:
        try:
            attempt()
        except OSError:
            return True
        return False


def attempts(folder: Path, parent: int) -> list[Callable[[], object]]:
    victim = folder / "victim"
    return [
        lambda: (folder / "new").write_text("x"),
        (folder / "folder").mkdir,
        lambda: (folder / "link").symlink_to(victim),
        lambda: os.truncate(victim, 0),
        lambda: victim.rename(folder / "renamed"),
        victim.unlink,
        lambda: victim.chmod(0o777),
        lambda: os.utime(victim, (0, 0)),
        lambda: Path("here").write_text("x" * 10),
        lambda: socket.socket(socket.AF_INET),
        lambda: socket.socket(socket.AF_UNIX),
        os.fork,
        lambda: subprocess.run(["true"], check=True),
        lambda: os.kill(parent, 0),
        lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
    ]


class Looking(torch.nn.Module):
    """Answers whether it sees a variable of the environment, and the current folder's modules."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = [
            "MOLEHUNT_TEST_SECRET" in os.environ,
            any(Path().iterdir()),
            os.getpgid(0) != os.getpid(),
        ]
        return torch.tensor([seen], dtype=torch.float32).expand(len(images), -1)


class Forking:
    """As a file: leaves a process behind that keeps stderr open."""

    def __reduce__(self) -> tuple:
        return leave_a_process, ()


def leave_a_process() -> torch.nn.Module:
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    return Loud()
