"""The LeNet family of LeCun et al. (1998), in today's spelling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class LeNet(nn.Module):
    """Convolutions of 5x5, each with ReLU and 2x2 max pooling, and fully connected layers.

    As in DeepXplore (Pei et al. 2017, section 6.1; the convolutions keep the size):
    LeNet-1 has channels 4 and 12 and no hidden layer, LeNet-4 channels 6 and 16 and 84 hidden
    units, LeNet-5 the same channels and 120 and 84 units. LeCun's sigmoids, sparse
    connections and radial basis functions are not in it.

    Parameters
    ----------
    in_channels, num_classes, image_size : int
        Of the images; square ones.
    channels : sequence of int
        Of each convolution.
    hidden : sequence of int
        Units of each fully connected layer but the last.

    Raises
    ------
    InvalidRequestError
        If a layer has nothing in it, or the convolutions leave nothing of the image.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> mnist = {"input_shape": (1, 28, 28), "num_classes": 10}
    >>> lenet_1 = build_network("lenet", **mnist, arguments={"channels": [4, 12], "hidden": []})
    >>> lenet_1(torch.zeros(2, 1, 28, 28)).shape, sum(p.numel() for p in lenet_1.parameters())
    (torch.Size([2, 10]), 7206)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int,
        *,
        channels: Sequence[int] = (6, 16),
        hidden: Sequence[int] = (120, 84),
    ) -> None:
        super().__init__()
        left = image_size // 2 ** len(channels)
        if left < 1 or not channels or min([*channels, *hidden]) < 1:
            got = f"channels {list(channels)}, hidden {list(hidden)}"
            allowed = f"convolutions that leave some of {image_size} pixels, all sizes from 1"
            raise InvalidRequestError(mismatch("lenet", allowed, got))
        layers: list[nn.Module] = []
        for before, after in zip([in_channels, *channels], channels, strict=False):
            layers += [nn.Conv2d(before, after, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        sizes = [channels[-1] * left * left, *hidden]
        layers = [nn.Flatten()]
        for before, after in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.classifier = nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
