"""Architectures by name: what is called, with what, and what a file may not ask for."""

from __future__ import annotations

import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from molehunt.cli import run
from molehunt.errors import InvalidRequestError, MolehuntError, UnreadableFileError
from molehunt.networks import build_network
from molehunt.provenance import inspect_serialization
from molehunt.subjects import Opened, Opening, StatedContract, open_subject, read_contract
from tests.subjects.foreign_networks import OneLogit, Small

HERE = "tests.subjects.foreign_networks"
IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CONTRACT: dict[str, Any] = {"input_shape": (1, 8, 8), "mean": (0.0,), "std": (1.0,)}


def opened(path: Path, **stated: Any) -> Opened:
    opening = Opening(StatedContract(**{**CONTRACT, **stated}))
    return open_subject(path, inspect_serialization(path), opening)


def weights(folder: Path, network: nn.Module) -> Path:
    path = folder / "weights.pt"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["Small", "open_ended", "other_name"])
@pytest.mark.parametrize("stated", [{"classes": 5}, {}])
def test_the_number_of_classes_reaches_every_factory(
    name: str, stated: dict[str, int], tmp_path: Path
) -> None:
    network = Small(5).eval()
    found = opened(weights(tmp_path, network), architecture=f"{HERE}:{name}", **stated)
    assert torch.allclose(found.models[""](IMAGES), network(IMAGES), atol=1e-6)


def test_a_factory_without_classes_is_told(tmp_path: Path) -> None:
    path = weights(tmp_path, Small(5))
    name = f"{HERE}:without_classes"
    with pytest.raises(UnreadableFileError, match=r"takes no number of classes.*`arguments`"):
        opened(path, architecture=name, classes=5)
    found = opened(path, architecture=name, classes=5, arguments={"out": 5})
    assert found.models[""](IMAGES).shape == (5, 5)


@pytest.mark.parametrize(
    ("name", "got"),
    [
        (f"{HERE}:run", "function of subprocess"),
        (f"{HERE}:almost", "partial of functools"),
        (f"{HERE}:not_a_class", f"Small of {HERE}"),
        ("os:environ", "_Environ of os"),
        ("builtins:eval", "builtin_function_or_method of builtins"),
        ("pathlib:Path", "type of pathlib"),
    ],
)
def test_only_networks_and_functions_of_the_named_module_are_called(
    name: str, got: str, tmp_path: Path
) -> None:
    allowed = r"expected a subclass of torch\.nn\.Module, or a function that [\w.]+ defines"
    with pytest.raises(InvalidRequestError, match=f"{allowed}, got {got}"):
        opened(weights(tmp_path, Small()), architecture=name, classes=4)


CODE = {
    "a function": ("subprocess:run", '{ args = "touch PWNED", shell = true }'),
    "a class": (f"{HERE}:Small", "{ }"),
    "a class of torch": ("torch.nn:Linear", "{ in_features = 1, out_features = 2 }"),
    "a module that runs": ("this:s", "{ }"),
}


@pytest.mark.parametrize("name", CODE)
def test_a_contract_from_a_file_names_no_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    architecture, arguments = CODE[name]
    monkeypatch.chdir(tmp_path)
    toml = tmp_path / "contract.toml"
    toml.write_text(
        f'architecture = "{architecture}"\narguments = {arguments}\n'
        "input_shape = [1, 8, 8]\nclasses = 4\nmean = [0.0]\nstd = [1.0]\n"
    )
    path = weights(tmp_path, Small())
    assert run(["scan", str(path), "--contract", str(toml)]) == 4
    assert f"if you trust it: --arch {architecture}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "PWNED").exists()
    assert "this" not in sys.modules
    # What the user names goes before the file.
    given = StatedContract(architecture=f"{HERE}:Small")
    assert read_contract(toml, given).architecture == given.architecture


def test_a_class_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(sys.modules[Small.__module__].__file__ or "").read_text()
    (tmp_path / "my_own_net.py").write_text(f"{source}\nimport my_own_part")
    (tmp_path / "my_own_part.py").write_text("")
    # What is installed goes before the folder.
    (tmp_path / "safetensors.py").write_text("raise SystemExit('the wrong one')")
    before = list(sys.path)
    found = opened(weights(tmp_path, Small()), architecture="my_own_net:Small", classes=4)
    assert found.models[""](IMAGES).shape == (5, 4)
    assert sys.path == before
    (tmp_path / "broken_net.py").write_text("def (")
    for name in ("broken_net:Net", "no_such_net:Net", "my_own_net:Missing", "not a name:x", ":"):
        with pytest.raises(InvalidRequestError, match="architecture"):
            opened(weights(tmp_path, Small()), architecture=name, classes=4)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("stated", [{"classes": 1}, {"classes": 1, "class_names": ["no", "yes"]}])
def test_a_single_output_decides_between_two_classes(
    squash: bool, stated: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = OneLogit().eval()
    found = opened(
        weights(tmp_path, network), architecture=f"{HERE}:OneLogit",
        arguments={"squash": squash}, **stated,
    )  # fmt: skip
    logits = found.models[""](IMAGES)
    expected = torch.cat([torch.zeros(5, 1), network(IMAGES)], dim=1)
    assert torch.allclose(logits, expected, atol=1e-4)
    assert found.models[""].card.num_classes == 2
    assert any("two logits 0 and z" in remark for remark in found.remarks)


def carded(path: Path, network: nn.Module, **changes: Any) -> Path:
    """Write a file with a card of Molehunt's, and what a stranger changed in it."""
    card = {
        "schema_version": 1, "architecture": "resnet", "arguments": {"width": 1, "blocks": 1},
        "input_shape": [1, 8, 8], "mean": [0.0], "std": [1.0], "class_names": [*"abcd"],
    }  # fmt: skip
    save_file(network.state_dict(), path, {"molehunt.model": json.dumps({**card, **changes})})
    return path


THREE = {"input_shape": [3, 16, 16], "mean": [0.0] * 3, "std": [1.0] * 3}
MOBILE = {**THREE, "architecture": "torchvision:mobilenet_v2"}
CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "images of 1.6 GB": ({"input_shape": [1, 20000, 20000]}, "input_shape: expected at most"),
    "a thousand million blocks": (
        {**MOBILE, "arguments": {"inverted_residual_setting": [[1, 16, 10**9, 1]]}},
        "numbers between",
    ),
    "a million blocks": (
        {**MOBILE, "arguments": {"inverted_residual_setting": [[1, 16, 10**6, 1]]}},
        "at most 10000 parts",
    ),
    "many lists": (
        {**MOBILE, "arguments": {"inverted_residual_setting": [[1, 16, 1, 1]] * 900}},
        "at most 1000 values",
    ),
    "wide": (
        {**MOBILE, "arguments": {"width_mult": 1e5}},
        "at most 10000 parts and 1073741824 numbers",
    ),
    "a name of five megabytes": ({"class_names": ["A" * 5_000_000, *"bcd"]}, "at most 200"),
    "code": ({"architecture": "subprocess:run"}, "is code, which a file may not name"),
    "another file": (
        {**THREE, "architecture": "timm:resnet10t", "arguments": {"checkpoint_path": "/x"}},
        r'got checkpoint_path|needs the extra "timm"',
    ),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_asks_for_no_endless_work(name: str, tmp_path: Path) -> None:
    changes, message = CARDS[name]
    network = build_network(
        "resnet", input_shape=(1, 8, 8), num_classes=4, arguments={"width": 1, "blocks": 1}
    )
    path = carded(tmp_path / "model.safetensors", network, **changes)
    started = time.process_time()
    with pytest.raises(MolehuntError, match=message) as caught:
        open_subject(path, inspect_serialization(path), Opening())
    assert time.process_time() - started < 30
    assert len(str(caught.value)) < 1000


def raw(header: str, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + data


STRANGE = {
    "F6_E2M3": raw('{"x":{"dtype":"F6_E2M3","shape":[8],"data_offsets":[0,6]}}', bytes(6)),
    "F4": raw('{"x":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}', bytes(4)),
    "a shape of 2^63": raw(
        '{"x":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}', b""
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_types_are_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(STRANGE[name])
    with pytest.raises(MolehuntError) as caught:
        opened(path, architecture=f"{HERE}:Small", classes=4)
    assert len(str(caught.value)) < 700


def test_numbers_that_torch_cannot_convert_are_one_line(tmp_path: Path) -> None:
    state = Small().state_dict()
    for dtype in (torch.float4_e2m1fn_x2, torch.complex64):
        changed = torch.zeros(4, 3, dtype=torch.uint8).view(dtype) if dtype.itemsize == 1 else None
        value = torch.zeros(4, 3, dtype=dtype) if changed is None else changed
        torch.save({**state, "fc.weight": value}, tmp_path / "weights.pt")
        with pytest.raises(UnreadableFileError):
            opened(tmp_path / "weights.pt", architecture=f"{HERE}:Small", classes=4)
