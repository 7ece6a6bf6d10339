"""A network with its card: a function from pixels in [0, 1] to logits."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

Positive = Annotated[int, Field(ge=1, le=100_000)]


class Access(StrEnum):
    """What a model lets a detector have."""

    LOGITS = "logits"
    GRADIENTS = "gradients"
    WEIGHTS = "weights"


class InputContract(BaseModel):
    """What a model takes and what its answers mean.

    Parameters
    ----------
    input_shape : (channels, height, width)
    value_range : (low, high)
        Of the pixels that the network was trained on, before mean and std.
    mean, std : tuple of float
        One a channel, in units of `value_range`, in the network's channel order.
    channel_order : {"rgb", "bgr"}
        In which the network wants colours; of no effect on grey images.
    class_names : tuple of str
        One a logit, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input_shape: tuple[Positive, Positive, Positive]
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    class_names: tuple[str, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _one_a_channel(self) -> Self:
        low, high = self.value_range
        if not low < high:
            raise ValueError(f"value_range: expected low under high, got {low} and {high}")
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


class ModelCard(InputContract):
    """What a model file says of itself; nothing of what is true of the model.

    Parameters
    ----------
    architecture, arguments
        Name in the registry and keyword settings.
    recipe : dict
        How it was trained, for the reader.
    """

    schema_version: Literal[1] = 1
    architecture: str = Field(max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)


class Classifier(nn.Module):
    """A network that takes pixels in [0, 1] and brings them into its own form itself.

    Parameters
    ----------
    network : nn.Module
        From normalised images [N, C, H, W] to logits [N, K].
    card : ModelCard
        Value range, mean, standard deviation and channel order are taken from it.

    Attributes
    ----------
    gives : frozenset of Access
        What a detector can have of it.
    stackable : bool
        Whether models of one architecture can run as one, vectorised over their weights.
    """

    gives: frozenset[Access] = frozenset(Access)
    stackable = True
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.card = card
        # For pixels in [0, 1], so that one subtraction and one division do everything.
        low, high = card.value_range
        mean = torch.tensor([(value - low) / (high - low) for value in card.mean])
        std = torch.tensor([value / (high - low) for value in card.std])
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] for pixels [N, C, H, W] in [0, 1], colours as RGB."""
        if self.card.channel_order == "bgr":
            images = images.flip(1)
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


class BlackBox(Classifier):
    """A model that only answers: it runs elsewhere, or in a runtime that keeps its weights.

    Parameters
    ----------
    answer : callable
        From normalised images, float32 [N, C, H, W], to logits [N, K], both NumPy arrays.
    card : ModelCard
    """

    gives = frozenset({Access.LOGITS})
    stackable = False

    def __init__(self, answer: Callable[[NDArray[np.float32]], NDArray[Any]], card: ModelCard):
        super().__init__(_Asked(answer), card)


class _Asked(nn.Module):
    """A callable over arrays in the place of a network."""

    def __init__(self, answer: Callable[[NDArray[np.float32]], NDArray[Any]]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K]; no gradient flows through them."""
        asked = np.ascontiguousarray(images.detach().cpu().numpy(), dtype=np.float32)
        answers = np.array(self.answer(asked), dtype=np.float32)
        return torch.from_numpy(answers).to(images.device)
