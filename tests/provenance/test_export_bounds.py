"""Exported programs that ask for endless memory are refused before torch builds them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from molehunt.provenance import SerializationState, inspect_serialization
from tests.provenance.zips import unpack

COUNT = ({0: torch.export.Dim("count", min=1, max=4096)},)


class Net(nn.Module):
    """Adds what `make` makes; the maker is traced into the program."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.make = make

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).expand(-1, 10) + self.make(images).max()


def exported(make: Callable[[Tensor], Tensor]) -> bytes:
    program = torch.export.export(Net(make), (torch.rand(2, 1, 8, 8),), dynamic_shapes=COUNT)
    stream = io.BytesIO()
    torch.export.save(program, stream)
    return stream.getvalue()


def swollen(make: Callable[[Tensor], Tensor], small: str, large: str) -> bytes:
    """A program whose JSON has other numbers than it was traced with."""
    archive = unpack(exported(make))
    for entry in archive.entries:
        if entry.name.endswith("models/model.json"):
            text = entry.content.decode()
            assert small in text
            entry.content = text.replace(small, large).encode()
    return archive.bytes()


TOO_MUCH: dict[str, Callable[[], bytes]] = {
    "full": lambda: swollen(lambda x: torch.full((7, 77), 1.0), "[7, 77]", "[70000, 77000]"),
    "zeros": lambda: swollen(lambda x: torch.zeros(7, 77), "[7, 77]", "[700000, 770000]"),
    "new_ones": lambda: swollen(lambda x: x.new_ones(7, 77), "[7, 77]", "[700000, 770000]"),
    "repeat": lambda: swollen(
        lambda x: torch.ones(3, 5).repeat(7, 77), "[7, 77]", "[7000, 770000]"
    ),
    "expand": lambda: swollen(
        lambda x: torch.ones(1, 1).expand(7, 77) * 1.0, "[7, 77]", "[7000, 770000]"
    ),
    "arange": lambda: swollen(
        lambda x: torch.arange(777).float(), '{"as_int": 777}', '{"as_int": 1099511627776}'
    ),
    "eye": lambda: swollen(lambda x: torch.eye(77), '{"as_int": 77}', '{"as_int": 770000}'),
    "pad": lambda: swollen(lambda x: nn.functional.pad(x, (7, 77)), "[7, 77]", "[7, 77000000000]"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_program_that_asks_for_too_much_is_unknown(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(TOO_MUCH[name]())
    found = inspect_serialization(path)
    assert found.state is SerializationState.UNKNOWN
    assert "elements, more than" in found.detail


@pytest.mark.parametrize(
    "make",
    [
        lambda x: torch.full((7, 77), 1.0),
        lambda x: torch.arange(777).float(),
        lambda x: x[:, :, 1:].reshape(-1, 56),
        lambda x: nn.functional.interpolate(x, size=(64, 64)),
    ],
    ids=["full", "arange", "a slice to the end", "upsampled"],
)
def test_what_networks_make_is_clean(make: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(exported(make))
    found = inspect_serialization(path)
    assert found.state is SerializationState.CLEAN, found.detail


@pytest.mark.parametrize("part", ["[],", "{},", "[[[]]],"])
def test_millions_of_parts_are_told_before_they_are_made(part: str, tmp_path: Path) -> None:
    archive = unpack(exported(lambda x: torch.ones(1)))
    for entry in archive.entries:
        if entry.name.endswith("models/model.json"):
            program = json.loads(entry.content)
            text = json.dumps(program)
            entry.content = f'{text[:-1]}, "x": [{part * 700_000} 0]}}'.encode()
    path = tmp_path / "model.pt2"
    path.write_bytes(archive.bytes())
    found = inspect_serialization(path)
    assert found.state is SerializationState.UNKNOWN
    assert "lists and dicts" in found.detail
