"""Kernel logistic regression with a Gaussian kernel and learnt representers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class Rbf(nn.Module):
    """A linear layer over Gaussian kernels of the image and some representers.

    In kernel logistic regression the representers are training images. A thief learns them from
    answers, as all is differentiable (Tramèr et al., 2016, on kernel logistic regression).

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (height, width)
    representers : int
    width : float
        Of the kernel at the start, in root mean squares of a difference of pixels; it is learnt.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> kernel = {"input_shape": (1, 8, 8), "num_classes": 10, "arguments": {"representers": 5}}
    >>> network = build_network("rbf", **kernel)
    >>> network(torch.zeros(2, 1, 8, 8)).shape, network.representers.shape
    (torch.Size([2, 10]), torch.Size([5, 64]))
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int | tuple[int, int],
        *,
        representers: int = 20,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if representers < 1 or not width > 0:
            got = f"{representers} representers, width {width}"
            raise InvalidRequestError(mismatch("rbf", "1 or more representers, width over 0", got))
        height, wide = (image_size,) * 2 if isinstance(image_size, int) else image_size
        # Normalised images have mean 0 and deviation 1.
        self.representers = nn.Parameter(torch.randn(representers, in_channels * height * wide))
        self.log_width = nn.Parameter(torch.tensor(float(width)).log())
        self.head = nn.Linear(representers, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        rows = images.flatten(1)[:, None]
        distances = (rows - self.representers).square().mean(2)
        logits: Tensor = self.head((-distances / (2 * (2 * self.log_width).exp())).exp())
        return logits
