"""A network with its card: a function from pixels in [0, 1] to logits."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

Positive = Annotated[int, Field(ge=1, le=100_000)]


class ModelCard(BaseModel):
    """What a model file says of itself; nothing of what is true of the model.

    Parameters
    ----------
    architecture, arguments
        Name in the registry and keyword settings.
    input_shape : (channels, height, width)
    value_range : (0, 1)
        Of the pixels that the classifier takes.
    mean, std : tuple of float
        One a channel, in [0, 1] units; applied by the classifier.
    class_names : tuple of str
        One a logit, in order.
    recipe : dict
        How it was trained, for the reader.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    architecture: str = Field(max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)
    input_shape: tuple[Positive, Positive, Positive]
    value_range: tuple[Literal[0], Literal[1]] = (0, 1)
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    class_names: tuple[str, ...] = Field(min_length=2)
    recipe: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_a_channel(self) -> Self:
        channels = self.input_shape[0]
        if len(self.mean) != channels or len(self.std) != channels:
            raise ValueError(
                f"mean and std: expected {channels} numbers each (one a channel), "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        return self

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        return len(self.class_names)


class Classifier(nn.Module):
    """A network that takes pixels in [0, 1] and normalises them itself.

    Parameters
    ----------
    network : nn.Module
        From normalised images [N, C, H, W] to logits [N, K].
    card : ModelCard
        Mean and standard deviation are taken from it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.card = card
        shape = (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(card.mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(shape), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] for pixels [N, C, H, W] in [0, 1]."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits

    def is_finite(self) -> bool:
        """Tell whether all weights and buffers are finite numbers."""
        return all(
            bool(torch.isfinite(tensor).all())
            for tensor in self.network.state_dict().values()
            if tensor.is_floating_point()
        )

    def frozen(self) -> Self:
        """Put the classifier in evaluation mode without gradients of its weights."""
        self.eval()
        self.requires_grad_(False)
        return self
