"""A small network of strided convolutions, as certified training uses it."""

from __future__ import annotations

from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class Strided(nn.Module):
    """Two convolutions of stride 2 and two fully connected layers, ReLU throughout.

    The small MNIST network of Wong and Kolter (2018, section 5). Nothing in it but ReLU is
    not affine, so bounds lose little: no pooling, no batch normalisation.

    Parameters
    ----------
    in_channels, num_classes, image_size : int
        Of the images; square ones, of 4 pixels or more.
    width : int
        Channels of the first convolution, 16 in the paper; the second has twice as many.
    hidden : int
        Units of the fully connected layer, 100 in the paper.

    Raises
    ------
    InvalidRequestError
        If the images are too small, or width or hidden out of bounds.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> network = build_network("strided", input_shape=(1, 28, 28), num_classes=10)
    >>> network(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int,
        *,
        width: int = 16,
        hidden: int = 100,
    ) -> None:
        super().__init__()
        left = image_size // 4
        if left < 1 or width < 1 or hidden < 1:
            got = f"{image_size} pixels, width {width}, hidden {hidden}"
            allowed = "4 pixels or more, width and hidden from 1"
            raise InvalidRequestError(mismatch("strided", allowed, got))
        self.features = nn.Sequential(
            *(nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.ReLU()),
        )
        self.classifier = nn.Sequential(
            *(nn.Flatten(), nn.Linear(2 * width * left * left, hidden), nn.ReLU()),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
