"""The baseline MNIST network of BadNets (v2, Table 1)."""

from __future__ import annotations

from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class BadNetsMnist(nn.Module):
    """Two convolutional and two fully connected layers for 28x28 images.

    Table 1: conv 16 of 5x5, average pool 2, conv 32 of 5x5, average pool 2, 512 units, the
    classes; ReLU throughout. The softmax of the last row is part of the loss. The network
    gives logits.

    Parameters
    ----------
    in_channels, num_classes, image_size : int
        1, 10 and 28 in the paper.

    Raises
    ------
    InvalidRequestError
        If the images are smaller than 16 pixels (nothing would be left of them).

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> network = build_network("badnets-mnist", input_shape=(1, 28, 28), num_classes=10)
    >>> network(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, image_size: int = 28) -> None:
        super().__init__()
        left = ((image_size - 4) // 2 - 4) // 2
        if left < 1:
            raise InvalidRequestError(
                mismatch("image size for badnets-mnist", "at least 16 pixels", image_size)
            )
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 16, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(32 * left * left, 512), nn.ReLU(), nn.Linear(512, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
