"""The file of a sign detector, and features from the file of a classifier."""

from __future__ import annotations

from pathlib import Path

import torch

from molehunt.errors import UnreadableFileError, mismatch
from molehunt.networks import Classifier, load_model, load_network, read_card_as, save_with_card
from molehunt.scenes._sign_detector import SignDetector, SignDetectorCard, network_of

_CARD_KEY = "molehunt.sign-detector"


def save_sign_detector(detector: SignDetector, path: str | Path) -> None:
    """Write a sign detector as one safetensors file, whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    save_with_card(detector.network, Path(path), key=_CARD_KEY, card=detector.card)


def load_sign_detector(path: str | Path, device: torch.device | str = "cpu") -> SignDetector:
    """Read a sign detector, in evaluation mode. Nothing in the file is executed.

    Raises
    ------
    UnreadableFileError
        If the file is missing, not safetensors, has no card of a sign detector, or if its
        tensors are not those that the card describes.
    """
    path = Path(path)
    card = read_card_as(path, _CARD_KEY, SignDetectorCard)
    network = load_network(path, lambda: network_of(card), device)
    return SignDetector(network, card).to(device).eval()


def features_from(path: str | Path) -> Classifier:
    """Read a ``zf`` classifier of colour images, whose convolutions a sign detector can start with.

    The paper's sign detector starts with convolutions learned on ImageNet; such a file is a
    user's to bring. ``molehunt.training.train`` learns them from cut-out signs.

    Raises
    ------
    UnreadableFileError
        If the file is not a model file of such a classifier.
    """
    model = load_model(path)
    card = model.card
    got = f"{card.architecture} of {card.input_shape[0]} channels ({card.channel_order})"
    if got != "zf of 3 channels (rgb)":
        raise UnreadableFileError(mismatch(f"{path}: features", "zf of 3 channels (rgb)", got))
    return model
