"""What an inverted image is made of: free pixels, or the output of a small network."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor, nn

_CHANNELS = 16  # of the small networks
_RATE = 0.01  # of their training
_MOMENTUM = 0.9
_TINY = 1e-20


class Prior(StrEnum):
    """What keeps an inverted image from being noise that only the model reads."""

    PIXELS = "pixels"  # nothing but the smoothing of each step
    DEEP_IMAGE = "deep-image"  # what an untrained network of convolutions draws first


class Canvas(Protocol):
    """Images that are changed downhill."""

    def images(self) -> Tensor:
        """Return the images, float32 [K, C, H, W] in [0, 1], without gradients."""
        ...

    def move(self, slopes: Tensor) -> None:
        """Go a step against `slopes` [K, C, H, W]; an image whose slopes are 0 stays."""
        ...


class Pixels:
    """Images whose pixels are free; what changes them is smoothed.

    Parameters
    ----------
    images : Tensor of float32, shape [K, C, H, W], in [0, 1]
        To start from.
    steps : int
        After which the steps have become nothing.
    lr : float
        Root mean square of the first step's changes.
    denoise : float
        Standard deviation of the Gaussian filter over each step's changes, in pixels; 0 for none.
    """

    def __init__(self, images: Tensor, *, steps: int, lr: float, denoise: float) -> None:
        self._images = images
        self._steps, self._lr, self._denoise = steps, lr, denoise
        self._velocity = torch.zeros_like(images)
        self._done = 0

    def images(self) -> Tensor:
        """Return the images."""
        return self._images

    def move(self, slopes: Tensor) -> None:
        """Go a step, with momentum."""
        still = (slopes == 0).flatten(1).all(1).view(-1, 1, 1, 1)
        slopes = smooth(slopes, self._denoise)
        size = slopes.square().flatten(1).mean(1).sqrt().view(-1, 1, 1, 1)
        slopes = slopes / size.clamp_min(_TINY)
        self._velocity = _MOMENTUM * self._velocity + (1 - _MOMENTUM) * slopes
        self._done += 1
        speed = self._velocity / (1 - _MOMENTUM**self._done)
        lr = self._lr * (1 - (self._done - 1) / self._steps)
        self._images = torch.where(still, self._images, (self._images - lr * speed).clamp(0, 1))


class DeepImage:
    """Images that small untrained networks draw from noise, one network an image.

    Ulyanov, Vedaldi and Lempitsky (Deep Image Prior, CVPR 2018): convolutions and enlargements
    draw smooth forms long before they can draw noise. Here they have three convolutions, no skip
    connections, and train by Adam on the slopes of their images.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of an image.
    count : int
    seed : int
    device : torch.device
    """

    def __init__(
        self, shape: tuple[int, int, int], count: int, *, seed: int, device: torch.device
    ) -> None:
        channels, height, width = shape
        middle, small = ((math.ceil(height / part), math.ceil(width / part)) for part in (2, 4))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # layers know no generator
            self._noise = torch.rand(1, count * _CHANNELS, *small).to(device)
            self._network = nn.Sequential(
                *_layer(count, _CHANNELS, middle),
                *_layer(count, _CHANNELS, (height, width)),
                nn.Conv2d(count * _CHANNELS, count * channels, 3, padding=1, groups=count),
                nn.Sigmoid(),
                nn.Unflatten(1, (count, channels)),
                nn.Flatten(0, 1),
            ).to(device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=_RATE)
        self._drawn: Tensor | None = None

    def images(self) -> Tensor:
        """Return the images as they are drawn now."""
        with torch.enable_grad():
            self._drawn = self._network(self._noise)
        return self._drawn.detach()

    def move(self, slopes: Tensor) -> None:
        """Train the networks for a step."""
        assert self._drawn is not None, "images are drawn before they are moved"
        lengths = slopes.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        self._optimizer.zero_grad()
        self._drawn.backward(slopes / lengths.clamp_min(_TINY))  # type: ignore[no-untyped-call]
        self._optimizer.step()


def smooth(images: Tensor, deviation: float) -> Tensor:
    """Return images [N, C, H, W] behind a Gaussian filter; small ones as they are.

    Examples
    --------
    >>> dot = torch.zeros(1, 1, 9, 9)
    >>> dot[0, 0, 4, 4] = 1
    >>> round(float(smooth(dot, 1.0).max()), 2), round(float(smooth(dot, 1.0).sum()), 2)
    (0.16, 1.0)
    """
    reach = math.ceil(3 * deviation)
    if not reach or min(images.shape[2:]) <= reach:
        return images
    from torchvision.transforms.v2.functional import gaussian_blur  # noqa: PLC0415  heavy

    blurred: Tensor = gaussian_blur(images, [2 * reach + 1] * 2, [deviation] * 2)
    return blurred


def _layer(count: int, channels: int, size: tuple[int, int]) -> list[nn.Module]:
    """Return a convolution of `count` networks side by side, and an enlargement."""
    both = count * channels
    return [
        nn.Conv2d(both, both, 3, padding=1, groups=count),
        nn.GroupNorm(count, both),
        nn.LeakyReLU(0.1),
        nn.Upsample(size=size, mode="bilinear", align_corners=False),
    ]
