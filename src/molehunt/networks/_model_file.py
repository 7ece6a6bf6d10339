"""The file of a classifier."""

from __future__ import annotations

from pathlib import Path

import torch

from molehunt.networks._card_file import load_network, read_card_as, save_with_card
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
    save_with_card(model.network, Path(path), key=CARD_KEY, card=model.card)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Classifier:
    """Read a model file, in evaluation mode. Nothing in the file is executed.

    Raises
    ------
    UnreadableFileError
        If the file is missing, not safetensors, has no card, or if its tensors are
        not those of the architecture that the card names.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier, load_model, save_model
    >>> digits = load_images("digits", size=12).test
    >>> save_model(build_classifier("vgg", digits, arguments={"width": 4}), "model.safetensors")
    >>> load_model("model.safetensors").card.architecture
    'vgg'
    """
    path = Path(path)
    card = read_card(path)
    network = load_network(path, lambda: network_of(card), device)
    return Classifier(network, card).to(device).freeze()


def read_card(path: Path) -> ModelCard:
    """Read the card of a model file without its tensors.

    Raises
    ------
    UnreadableFileError
        If the file is missing, not safetensors, or has no valid card.
    """
    return read_card_as(path, CARD_KEY, ModelCard)
