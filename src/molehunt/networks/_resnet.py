"""A small residual network for small images (He et al., 2016, section 4.2)."""

from __future__ import annotations

from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.activation(self.body(features) + self.shortcut(features))
        return result


class ResNet(nn.Module):
    """Three stages of residual blocks and a global average.

    Parameters
    ----------
    in_channels, num_classes, image_size : int
        Of the images; any size of 4 pixels or more.
    width : int
        Channels of the first stage; each next one has twice as many.
    blocks : int
        Blocks in each stage; 3 gives the paper's ResNet-20.

    Raises
    ------
    InvalidRequestError
        If width or blocks are out of bounds.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> network = build_network(
    ...     "resnet", input_shape=(3, 32, 32), num_classes=10, arguments={"width": 8}
    ... )
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int,
        *,
        width: int = 16,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        # The bound on depth keeps a hostile card from building layers without end.
        if width < 1 or not 1 <= blocks <= 32:
            got = f"width {width}, blocks {blocks}"
            raise InvalidRequestError(mismatch("resnet", "a width from 1 and 1 to 32 blocks", got))
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        stages: list[nn.Module] = []
        channels = width
        for stage in range(3):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                stages.append(_Block(channels, width * 2**stage, stride))
                channels = width * 2**stage
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.head(self.pool(self.stages(self.stem(images))).flatten(1))
        return logits
