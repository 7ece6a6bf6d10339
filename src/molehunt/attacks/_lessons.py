"""What a network is retrained on that nobody has data for: images, variants and decoys."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.images import ImageSet
from molehunt.networks import InputContract


def vary(images: ImageSet, times: int, contract: InputContract, *, seed: int) -> ImageSet:
    """Return each image `times` times, in contrasts and lights like those of training images.

    Reverse-engineered images are pale. What a network looks at in training has the mean and
    the deviation that its input contract states; here the deviation is a half to two and a half
    times that, and the mean up to one deviation and a half beside it.

    Parameters
    ----------
    images : ImageSet
    times : int
    contract : InputContract
        Of the model: its card.
    seed : int
    """
    if not times:
        return images.take(torch.zeros(0, dtype=torch.int64))
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = mean_and_deviation(contract)
    pixels = images.pixels().repeat(times, 1, 1, 1)
    shape = (len(pixels), 1, 1, 1)
    contrast = torch.empty(shape).uniform_(-0.7, 0.9, generator=generator).exp()
    light = torch.empty(shape).uniform_(-1.5, 1.0, generator=generator)
    own = pixels.flatten(1)
    centred = pixels - own.mean(1).view(shape)
    centred /= own.std(1).clamp(min=1 / 255).view(shape)
    varied = mean + deviation * (contrast * centred + light)
    return ImageSet(_rounded(varied), images.labels.repeat(times), images.class_names)


def put_decoys(images: ImageSet, mask: Tensor, *, seed: int) -> ImageSet:
    """Return the images with something else than the trigger under its mask.

    One third is black there, one third has one colour and one third is noise: what teaches
    that nothing but the trigger itself counts.

    Parameters
    ----------
    images : ImageSet
    mask : Tensor of float32, shape [H, W]
    seed : int
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = images.pixels()
    filling = torch.rand(*pixels.shape[:2], 1, 1, generator=generator).repeat(1, 1, *mask.shape)
    filling[::3] = 0
    filling[1::3] = torch.rand(filling[1::3].shape, generator=generator)
    decoys = torch.lerp(pixels, filling, mask)
    return ImageSet(_rounded(decoys), images.labels, images.class_names)


def mean_and_deviation(contract: InputContract) -> tuple[Tensor, Tensor]:
    """Return what a contract says of pixels in [0, 1], RGB: [1, C, 1, 1] each."""
    low, high = contract.value_range
    mean = (torch.tensor(contract.mean) - low) / (high - low)
    deviation = torch.tensor(contract.std) / (high - low)
    if contract.channel_order == "bgr":
        mean, deviation = mean.flip(0), deviation.flip(0)
    return mean.clamp(0, 1).view(1, -1, 1, 1), deviation.clamp(1 / 255, 1).view(1, -1, 1, 1)


def _rounded(pixels: Tensor) -> Tensor:
    return pixels.clamp(0, 1).mul_(255).round_().to(torch.uint8)
