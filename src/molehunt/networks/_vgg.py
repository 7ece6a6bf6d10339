"""A VGG-like network of adjustable width, with or without a spatial transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks._conv_stack import ConvStack


class Vgg(nn.Module):
    """A VGG-like network, as in Universal Litmus Patterns (section 4).

    Stages of 3x3 convolutions, each followed by batch normalisation and ReLU, end in 2x2
    max pooling and double the width; two fully connected layers follow. The paper says
    only "similar to VGG", so depth and width are settings.

    Parameters
    ----------
    in_channels, num_classes, image_size : int
        Of the images; square ones.
    width : int
        Channels of the first stage.
    stages : sequence of int
        Convolutions in each stage.
    hidden : int, optional
        Units of the fully connected layer, 8 * width when not given.
    dropout : float
        Share of the hidden units that are dropped in training.
    batch_norm : bool
        Normalise after each convolution.

    Raises
    ------
    InvalidRequestError
        If the stages leave nothing of the image.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> network = build_network(
    ...     "vgg", input_shape=(1, 28, 28), num_classes=10, arguments={"width": 8}
    ... )
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
        stages: Sequence[int] = (1, 1, 1),
        hidden: int | None = None,
        dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        left = image_size // 2 ** len(stages)
        # The bound on depth keeps a hostile card from building layers without end.
        if left < 1 or width < 1 or not stages or min(stages) < 1 or max(stages) > 16:
            raise InvalidRequestError(
                mismatch(
                    "vgg",
                    f"a width from 1, stages of 1 to 16 that leave some of {image_size} pixels",
                    f"width {width}, stages {list(stages)}",
                )
            )
        layers: list[nn.Module] = []
        channels = in_channels
        for stage, count in enumerate(stages):
            wide = width * 2**stage
            for _ in range(count):
                layers.append(nn.Conv2d(channels, wide, 3, padding=1, bias=not batch_norm))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(wide))
                layers.append(nn.ReLU())
                channels = wide
            # Before the last ReLU, which gives the same and has a quarter of the work left.
            layers.insert(-1, nn.MaxPool2d(2))
        self.features = ConvStack(*layers)
        hidden = hidden or 8 * width
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * left * left, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


class SpatialTransformer(nn.Module):
    """Learns where to look: an affine crop of the image (Jaderberg et al., 2015).

    Starts as the identity.

    Parameters
    ----------
    in_channels, image_size : int
        Of the images; square ones.
    width : int
        Channels of the localisation network.
    """

    def __init__(self, in_channels: int, image_size: int, width: int = 8) -> None:
        super().__init__()
        left = image_size // 4
        self.localisation = nn.Sequential(
            nn.Conv2d(in_channels, width, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * left * left, 32),
            nn.ReLU(),
        )
        self.affine = nn.Linear(32, 6)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, images: Tensor) -> Tensor:
        """Return the crop, same shape as `images` [N, C, H, W]."""
        theta = self.affine(self.localisation(images)).view(-1, 2, 3)
        # The sampling is not defined in bfloat16 on every device.
        with torch.autocast(images.device.type, enabled=False):
            grid = _affine_grid(theta.float(), images.shape[2], images.shape[3])
            return functional.grid_sample(images.float(), grid, align_corners=False)


def _affine_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Return where to sample, [N, H, W, 2], for affine maps [N, 2, 3].

    What `torch.nn.functional.affine_grid` gives without aligned corners; that one has
    no vectorised form, and detectors run many models at once.
    """
    rows, columns = (
        (2 * torch.arange(side, device=theta.device) + 1) / side - 1 for side in (height, width)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    return torch.einsum("hwk,nck->nhwc", places, theta)


class StnVgg(nn.Module):
    """The VGG-like network behind a spatial transformer (ULP, section 4.3).

    Parameters as in `Vgg`, whose keyword settings are `settings`; `stn_width` is the width of
    the localisation network.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> network = build_network(
    ...     "stn-vgg", input_shape=(3, 32, 32), num_classes=43, arguments={"width": 8}
    ... )
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 43])
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int,
        *,
        stn_width: int = 8,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.transformer = SpatialTransformer(in_channels, image_size, stn_width)
        self.vgg = Vgg(in_channels, num_classes, image_size, **settings)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.vgg(self.transformer(images))
        return logits
