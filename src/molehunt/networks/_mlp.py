"""Fully connected networks, softmax regression among them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, mismatch


class Mlp(nn.Module):
    """A fully connected network with ReLU; without hidden layers it is softmax regression.

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (height, width)
        Of the images; a row of features is an image of one line.
    hidden : sequence of int
        Units of each hidden layer.

    Raises
    ------
    InvalidRequestError
        If a hidden layer has no units.

    Examples
    --------
    >>> import torch
    >>> from molehunt.networks import build_network
    >>> softmax = {"input_shape": (1, 8, 8), "num_classes": 10, "arguments": {"hidden": []}}
    >>> network = build_network("mlp", **softmax)
    >>> network(torch.zeros(2, 1, 8, 8)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([2, 10]), 650)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int | tuple[int, int],
        *,
        hidden: Sequence[int] = (256,),
    ) -> None:
        super().__init__()
        if any(units < 1 for units in hidden):
            raise InvalidRequestError(mismatch("hidden units of mlp", "1 or more", list(hidden)))
        height, width = (image_size,) * 2 if isinstance(image_size, int) else image_size
        sizes = [in_channels * height * width, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, units in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(before, units), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] for normalised images [N, C, H, W]."""
        logits: Tensor = self.layers(images)
        return logits
