"""Load one hostile file after another without any guard, in a process of its own.

Run as ``python unguarded.py LIST``: a JSON list of loader and path. What a payload
raises does not matter here; whether it left its mark does.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
from pathlib import Path

import torch


def load(loader: str, path: str) -> None:
    if loader == "pickle":
        pickle.loads(Path(path).read_bytes())
    elif loader == "torch":
        torch.load(path, weights_only=False)
    else:
        torch.export.load(path).module()(torch.rand(2, 1, 6, 6))


if __name__ == "__main__":
    for loader, path in json.loads(Path(sys.argv[1]).read_text()):
        with contextlib.suppress(BaseException):
            load(loader, path)
