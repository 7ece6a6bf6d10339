"""A safetensors file that loads by itself: a network's tensors, and a card in its header."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from molehunt.errors import UnreadableFileError, from_validation
from molehunt.files import written_whole

Network = TypeVar("Network", bound=nn.Module)
Card = TypeVar("Card", bound=BaseModel)


def save_with_card(network: nn.Module, path: Path, *, key: str, card: BaseModel) -> None:
    """Write the tensors of `network`, and `card` under `key`, whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata={key: card.model_dump_json()})


def read_card_as(path: Path, key: str, kind: type[Card]) -> Card:
    """Read the card under `key` without the tensors.

    Raises
    ------
    UnreadableFileError
        If the file is missing, not safetensors, or has no valid card of that kind.
    """
    metadata = read_header(path)
    if key not in metadata:
        name = key.partition(".")[2]
        raise UnreadableFileError(
            f"{path}: no {name} card in the safetensors header; expected a file written by Molehunt"
        )
    try:
        return kind.model_validate_json(metadata[key])
    except ValidationError as error:
        name = key.partition(".")[2]
        raise UnreadableFileError(str(from_validation(error, f"{path}: {name} card"))) from error


def load_network(
    path: Path, build: Callable[[], Network], device: torch.device | str = "cpu"
) -> Network:
    """Fill the network that `build` makes with the tensors of a file.

    Raises
    ------
    UnreadableFileError
        If `build` fails, or the tensors are not those of its network.
    """
    try:
        # No storage is allocated for weights that the file will bring.
        with torch.device("meta"):
            network = build()
        tensors = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in load_file(path, device=str(device)).items()
        }
        network.load_state_dict(tensors, strict=True, assign=True)
    except Exception as error:  # the card is a stranger's: any setting may be in it
        message = " ".join(str(error).split())
        raise UnreadableFileError(f"{path}: does not fit its own card: {message:.300}") from error
    _refuse_meta(network, path)
    return network


def read_header(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises
    ------
    UnreadableFileError
        If the file is missing or not safetensors.
    """
    if not path.is_file():
        raise UnreadableFileError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as archive:
            return dict(archive.metadata() or {})
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise UnreadableFileError(f"{path}: not a readable safetensors file: {error}") from error


def _refuse_meta(network: nn.Module, path: Path) -> None:
    """Refuse a network with tensors that the file did not bring (non-persistent buffers)."""
    left = [
        name
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]
        if tensor.is_meta
    ]
    if left:
        raise UnreadableFileError(f"{path}: brings no values for {', '.join(left)}")
