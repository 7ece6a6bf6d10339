"""Pictures from files, as triggers need them."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from molehunt.backdoors._drawings import as_tensor
from molehunt.errors import InvalidRequestError, UnreadableFileError, mismatch
from molehunt.files import open_regular
from molehunt.images import FORMATS


def read_picture(path: Path, height: int, width: int) -> Tensor:
    """Return a picture with its transparency, scaled: float32 [4, height, width] in [0, 1].

    Raises
    ------
    UnreadableFileError
        If the file is not a picture.
    """
    try:
        with open_regular(path) as stream, Image.open(stream, formats=FORMATS) as image:
            scaled = image.convert("RGBA").resize((width, height))
    except UnreadableFileError:
        raise
    except Exception as error:  # Pillow raises what it likes on what strangers wrote
        raise UnreadableFileError(f"{path}: not a readable picture: {error}") from error
    return as_tensor(scaled)


def colours_of(picture: Tensor, channels: int) -> Tensor:
    """Return the colours [channels, H, W] of an RGBA picture; one channel is its grey.

    Raises
    ------
    InvalidRequestError
        If the channels are neither 1 nor 3.
    """
    if channels == 3:
        return picture[:3]
    if channels != 1:
        raise InvalidRequestError(mismatch("channels for a picture", "1 or 3", channels))
    grey = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
    return (picture[:3] * grey[:, None, None]).sum(0, keepdim=True)
