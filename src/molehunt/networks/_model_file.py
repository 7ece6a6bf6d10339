"""One safetensors file that loads by itself: tensors, and the card in its header."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from molehunt.errors import UnreadableFileError, from_validation
from molehunt.files import written_whole
from molehunt.networks._classifier import Classifier, ModelCard
from molehunt.networks._registry import network_of

CARD_KEY = "molehunt.model"


def save_model(model: Classifier, path: str | Path) -> None:
    """Write a model file, whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.network.state_dict().items()
    }
    with written_whole(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={CARD_KEY: model.card.model_dump_json()})


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Classifier:
    """Read a model file, in evaluation mode. Nothing in the file is executed.

    Raises
    ------
    UnreadableFileError
        If the file is missing, not safetensors, has no card, or if its tensors are
        not those of the architecture that the card names.
    """
    path = Path(path)
    card = read_card(path)
    try:
        # No storage is allocated for weights that the file will bring.
        with torch.device("meta"):
            network = network_of(card)
        tensors = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in load_file(path, device=str(device)).items()
        }
        network.load_state_dict(tensors, strict=True, assign=True)
    except Exception as error:  # the card is a stranger's: any setting may be in it
        message = " ".join(str(error).split())
        raise UnreadableFileError(f"{path}: does not fit its own card: {message:.300}") from error
    _refuse_meta(network, path)
    return Classifier(network, card).to(device).frozen()


def read_card(path: Path) -> ModelCard:
    """Read the card of a model file without its tensors.

    Raises
    ------
    UnreadableFileError
        If the file is missing, not safetensors, or has no valid card.
    """
    metadata = read_header(path)
    if CARD_KEY not in metadata:
        raise UnreadableFileError(
            f"{path}: no model card in the safetensors header; expected a file written by Molehunt"
        )
    try:
        return ModelCard.model_validate_json(metadata[CARD_KEY])
    except ValidationError as error:
        raise UnreadableFileError(str(from_validation(error, f"{path}: model card"))) from error


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
