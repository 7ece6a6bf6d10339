"""One small valid file of every kind that strangers send, made from networks built here."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from molehunt.detectors import LitmusPatterns, fit_on_zoo, save_detector
from molehunt.networks import Classifier, save_model
from molehunt.zoo import build_zoo
from tests.conftest import tiny_plan
from tests.subjects import formats


@dataclass(frozen=True)
class Seeds:
    """Valid files by kind: a model file, an index with its shards, or another input.

    `shards` lie beside every index; `model`, `contract` and `detector` are what the other
    inputs of a scan are when one of them is changed.
    """

    files: dict[str, tuple[str, bytes]]  # kind: suffix, content
    shards: dict[str, bytes]
    model: Path
    contract: Path
    detector: Path


# Kinds that are arguments of a scan; the others are read on their own.
MODELS = (
    *("safetensors", "bare safetensors", "torch zip", "torch legacy", "torch.export"),
    *("ONNX", "TorchScript", "shards"),
)


def make_seeds(folder: Path) -> Seeds:
    """Build a tiny zoo, fit a detector on it, and write its first model in every format."""
    plan = tiny_plan()
    zoo = build_zoo(plan, folder / "zoo", workers=1)
    model = next(iter(zoo.models(zoo.records[:1])))
    detector = folder / "litmus.safetensors"
    save_detector(fit_on_zoo(LitmusPatterns(n_patterns=3, epochs=1), zoo), detector)
    contract = folder / "contract.toml"
    contract.write_text(_contract(model))
    carded = folder / "model.safetensors"
    save_model(model, carded)
    files = {"safetensors": (".safetensors", carded.read_bytes())}
    for kind, suffix, write in (
        ("bare safetensors", ".safetensors", formats.bare_safetensors),
        ("torch zip", ".pt", formats.checkpoint),
        ("torch legacy", ".pth", formats.legacy),
        ("torch.export", ".pt2", formats.exported),
        ("ONNX", ".onnx", formats.onnx),
        ("TorchScript", ".torchscript", formats.torchscript),
    ):
        path = folder / f"seed{suffix}"
        write(model, path)
        files[kind] = suffix, path.read_bytes()
    index, shards = _shards(model, folder)
    settings = plan.model_dump(mode="json")
    files |= {
        "shards": (".safetensors.index.json", index),
        "detector": (".safetensors", detector.read_bytes()),
        "contract": (".toml", contract.read_bytes()),
        "plan in TOML": (".toml", _toml(settings).encode()),
        "plan in YAML": (".yaml", yaml.safe_dump(settings).encode()),
        "plan in JSON": (".json", json.dumps(settings).encode()),
        "npz": (".npz", _npz()),
    }
    return Seeds(files, shards, carded, contract, detector)


def _contract(model: Classifier) -> str:
    card = model.card
    return (
        f"architecture = {json.dumps(card.architecture)}\n"
        "arguments = { width = 4, stages = [1, 1] }\n"
        f"input_shape = {list(card.input_shape)}\nclasses = {card.num_classes}\n"
        f"value_range = [0.0, 1.0]\nmean = {list(card.mean)}\nstd = {list(card.std)}\n"
    )


def _shards(model: Classifier, folder: Path) -> tuple[bytes, dict[str, bytes]]:
    tensors = {name: t.contiguous() for name, t in model.network.state_dict().items()}
    names = list(tensors)
    halves = {"model-00001-of-00002": names[:5], "model-00002-of-00002": names[5:]}
    places, shards = {}, {}
    for stem, inside in halves.items():
        path = folder / f"{stem}.safetensors"
        save_file({name: tensors[name] for name in inside}, path)
        shards[path.name] = path.read_bytes()
        places |= dict.fromkeys(inside, path.name)
    index = {"metadata": {"total_size": sum(map(len, shards.values()))}, "weight_map": places}
    return json.dumps(index).encode(), shards


def _toml(settings: dict[str, object], table: str = "") -> str:
    """Write nested settings; TOML has no null, so that those are left out."""
    lines, tables = [f"[{table}]"] if table else [], []
    for key, value in settings.items():
        if isinstance(value, dict):
            tables.append(_toml(value, f"{table}.{key}" if table else key))
        elif value is not None:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _npz() -> bytes:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 12, 12), dtype=np.uint8)
    labels = np.arange(40) % 10
    stream = io.BytesIO()
    np.savez(stream, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return stream.getvalue()


torch.set_num_threads(1)
