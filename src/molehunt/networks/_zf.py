"""The network of Zeiler and Fergus (ZF), whose convolutions BadNets' sign detector has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.errors import InvalidRequestError, mismatch

# Of all five layers together: strides 2 of conv1, pool1, conv2 and pool2.
ZF_STRIDE = 16


class LocalResponseNorm(nn.Module):
    """Local response normalisation within each channel, over 3x3 pixels.

    x / (1 + alpha * mean of x² around)^0.75, the form that ZF has in the reference
    implementation of Faster R-CNN. There alpha is 5e-5 for pixels in [0, 255]; here pixels
    have deviation 1 in place of about 58, and alpha is 58² times that.
    """

    ALPHA = 5e-5 * 58**2

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised features, same shape [N, C, H, W]."""
        normalised: Tensor = _Normalise.apply(features, self.ALPHA)[0]
        return normalised


def _mean_around(values: Tensor) -> Tensor:
    return functional.avg_pool2d(values, 3, stride=1, padding=1)


class _Normalise(torch.autograd.Function):
    """Local response normalisation with its gradient written out.

    Layers are wide where ZF normalises: left to autograd, the chain of its operations took a
    third of the time of training a sign detector on a CPU. This is twice as fast.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
        base = _mean_around(features * features).mul_(alpha).add_(1)
        # Two roots take half the time of the power -0.75 in bfloat16.
        root = base.rsqrt()
        power = root.sqrt().mul_(root)
        return features * power, base, power

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, ...]) -> None:
        features, ctx.alpha = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(features, *output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        features, normalised, base, power = ctx.saved_tensors
        # The mean over 3x3 with zeros around is its own transpose.
        around = _mean_around((gradients[0] * normalised).div_(base))
        direct = gradients[0] * power
        return torch.addcmul(direct, features, around, value=-1.5 * ctx.alpha), None


def zf_channels(width: float) -> tuple[int, ...]:
    """Return the channels of conv1 to conv5, which are 96, 256, 384, 384, 256 at width 1.

    Raises
    ------
    InvalidRequestError
        If the width is out of bounds.

    Examples
    --------
    >>> zf_channels(0.5)
    (48, 128, 192, 192, 128)
    """
    if not 0.01 <= width <= 1:
        raise InvalidRequestError(mismatch("width of zf", "0.01 to 1", width))
    return tuple(max(1, round(wide * width)) for wide in (96, 256, 384, 384, 256))


def zf_features(in_channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Return conv1 to conv5 of BadNets v2, Table 3, with He's initial weights.

    Parameters
    ----------
    in_channels : int
    width : float
        Channels over those of the paper.

    Returns
    -------
    Sequential
        From [N, in_channels, H, W] to [N, channels of conv5, H / 16, W / 16], rounded up.

    Raises
    ------
    InvalidRequestError
        If the width is out of bounds.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import zf_features
    >>> zf_features(3, width=0.1)(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 26, 4, 4])
    """
    c1, c2, c3, c4, c5 = zf_channels(width)
    features = nn.Sequential(
        *(nn.Conv2d(in_channels, c1, 7, stride=2, padding=3), nn.ReLU(), LocalResponseNorm()),
        nn.MaxPool2d(3, stride=2, padding=1),
        *(nn.Conv2d(c1, c2, 5, stride=2, padding=2), nn.ReLU(), LocalResponseNorm()),
        nn.MaxPool2d(3, stride=2, padding=1),
        *(nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(c3, c4, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(c4, c5, 3, padding=1), nn.ReLU()),
    )
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return features


class Zf(nn.Module):
    """ZF as a classifier, to learn features for a sign detector from cut-out signs.

    Parameters
    ----------
    in_channels, num_classes, image_size : int
        Of the images; square ones of any size.
    width : float
        As in `zf_features`.
    hidden : int
        Units of fc6 and fc7; 4096 in the paper.

    Raises
    ------
    InvalidRequestError
        If width or hidden are out of bounds.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> network = build_network(
    ...     "zf", input_shape=(3, 64, 64), num_classes=43, arguments={"width": 0.1}
    ... )
    >>> network(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 43])
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int,
        *,
        width: float = 1.0,
        hidden: int = 4096,
    ) -> None:
        super().__init__()
        if not 1 <= hidden <= 65536:
            raise InvalidRequestError(mismatch("hidden of zf", "1 to 65536", hidden))
        self.features = zf_features(in_channels, width)
        side = -(-image_size // ZF_STRIDE)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(zf_channels(width)[-1] * side * side, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
