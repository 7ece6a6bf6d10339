"""Changes of pixels in [0, 1], each image by an amount of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def move(pixels: Tensor, degrees: Tensor, shift: Tensor) -> Tensor:
    """Return images [N, C, H, W] turned around their middle and shifted.

    What comes in from outside repeats the border.

    Parameters
    ----------
    pixels : Tensor of float32, shape [N, C, H, W]
    degrees : Tensor of float32, shape [N]
    shift : Tensor of float32, shape [N, 2]
        To the right and down, in pixels.

    Examples
    --------
    >>> image = torch.arange(9.0).view(1, 1, 3, 3) / 8
    >>> turned = move(image, torch.tensor([90.0]), torch.zeros(1, 2))
    >>> (turned * 8).round().flatten().tolist()
    [6.0, 3.0, 0.0, 7.0, 4.0, 1.0, 8.0, 5.0, 2.0]
    """
    _, _, height, width = pixels.shape
    angle = torch.deg2rad(degrees)
    cosine, sine = angle.cos(), angle.sin()
    rows = torch.stack(
        [
            *(cosine, sine * height / width, -2 * shift[:, 0] / width),
            *(-sine * width / height, cosine, -2 * shift[:, 1] / height),
        ],
        dim=1,
    )
    grid = functional.affine_grid(rows.view(-1, 2, 3), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def blur(pixels: Tensor, deviation: Tensor) -> Tensor:
    """Return images under a Gaussian blur.

    Parameters
    ----------
    pixels : Tensor of float32, shape [N, C, H, W]
    deviation : Tensor of float32, shape [N]
        Of each image's kernel, in pixels; 0 leaves an image as it is.
    """
    count, channels, height, width = pixels.shape
    radius = min(math.ceil(3 * float(deviation.max())), height - 1, width - 1)
    if radius < 1:
        return pixels
    places = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernels = (-0.5 * (places / deviation.clamp_min(1e-3)[:, None]) ** 2).exp()
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    rows = pixels.reshape(1, count * channels, height, width)
    rows = functional.pad(rows, (radius, radius, radius, radius), mode="reflect")
    rows = functional.conv2d(rows, kernels[:, None, None, :], groups=count * channels)
    rows = functional.conv2d(rows, kernels[:, None, :, None], groups=count * channels)
    return rows.view(pixels.shape)


def draw_rectangles(
    count: int, shape: tuple[int, int], size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Return a mask with one rectangle an image somewhere in it, bool [count, 1, H, W]."""
    (height, width), (tall, wide) = shape, size
    top = torch.randint(0, height - tall + 1, (count, 1, 1, 1), generator=generator)
    left = torch.randint(0, width - wide + 1, (count, 1, 1, 1), generator=generator)
    rows = torch.arange(height).view(1, 1, -1, 1)
    columns = torch.arange(width).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + tall)
    return inside & (columns >= left) & (columns < left + wide)


def round_to_bytes(pixels: Tensor) -> Tensor:
    """Return pixels in [0, 1] as they are saved, uint8."""
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
