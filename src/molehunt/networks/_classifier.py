"""A network with its card: a function from pixels in [0, 1] to logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from molehunt.errors import UnsuitableSubjectError
from molehunt.networks._answers import Answers
from molehunt.networks._outputs import logits_in
from molehunt.networks._squashes import WatchSquashes

Positive = Annotated[int, Field(ge=1, le=100_000)]
Answer = Callable[[NDArray[np.float32]], NDArray[Any]]


class Access(StrEnum):
    """What a model gives: what a detector can ask for."""

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
    architecture : str
        Its name in the registry.
    arguments : dict
        Keyword settings of the architecture.
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
        From normalised images [N, C, H, W] to logits [N, K], alone or among other outputs.
    card : ModelCard
        Value range, mean, standard deviation and channel order are taken from it.
    output : str, optional
        Which of several outputs holds the answers; see `logits_in`.

    Attributes
    ----------
    answers : Answers
        What the network's numbers are, and how they become logits: see `recognise`.
    gives : frozenset of Access
        What a detector can have of it.
    vouched : bool
        Whether someone else than the model's file states its contract, or clean images agree.
    stackable : bool
        Whether models of one architecture can run as one, vectorised over their weights.
    """

    gives: frozenset[Access] = frozenset(Access)
    stackable = True
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: ModelCard, output: str | None = None) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.output = output
        self.answers = Answers()
        self.vouched = True
        self._layout: torch.memory_format | None = None
        self._takes_bfloat16: bool | None = None
        # For pixels in [0, 1], so that one subtraction and one division do everything.
        low, high = card.value_range
        mean = torch.tensor([(value - low) / (high - low) for value in card.mean])
        std = torch.tensor([value / (high - low) for value in card.std])
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(1, -1, 1, 1), persistent=False)

    @property
    def measured(self) -> Classifier:
        """The model that who measures asks: itself, or the one behind a front that watches."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] for pixels [N, C, H, W] in [0, 1], colours as RGB.

        Raises
        ------
        UnsuitableSubjectError
            If the network's outputs hold no answers of that shape, or it is not clear which.
        """
        return self.answers.converted(self.levels(images, self.answers.depth)[-1])

    def levels(self, images: Tensor, depth: int) -> tuple[Tensor, ...]:
        """Return the network's own numbers [N, K], and what went into its last functions.

        Parameters
        ----------
        images : Tensor [N, C, H, W]
        depth : int
            How many of the squashing functions (softmax, sigmoid) at its end to undo.

        Returns
        -------
        tuple of Tensor
            The answers, the argument of the last such function, the argument of the one
            before, ...: `depth` + 1 tensors.

        Raises
        ------
        UnsuitableSubjectError
            As `forward`, and if so many functions are not seen at its end.
        """
        if self.card.channel_order == "bgr":
            images = images.flip(1)
        inputs = (images - self.mean) / self.std
        classes = self.card.num_classes
        if not depth:
            return (logits_in(self.network(inputs), classes, self.output),)
        if isinstance(self.network, _Asked):
            levels = self.network.levels(inputs, depth)
        else:
            with WatchSquashes(classes) as watch:
                answers = logits_in(self.network(inputs), classes, self.output)
            levels = (answers, *(logits_in(a, classes) for a in watch.arguments_of(answers)))
        if len(levels) <= depth:
            raise UnsuitableSubjectError("the model does not end in a softmax that can be seen")
        return levels[: depth + 1]

    @property
    def layout(self) -> torch.memory_format:
        """How images should lie: channels last, which is fast, where the network allows that.

        Code that flattens with ``view``, as many a stranger's does, refuses it. It is tried
        once.
        """
        if self._layout is None:
            self._layout = self._try_layout()
        return self._layout

    @property
    def takes_bfloat16(self) -> bool:
        """Whether the network computes under bfloat16 autocast where it lies; tried once."""
        if self._takes_bfloat16 is None:
            inner = self.network
            if isinstance(inner, Classifier):
                self._takes_bfloat16 = inner.takes_bfloat16
            else:
                self._takes_bfloat16 = Access.WEIGHTS in self.gives and self._computes(half=True)
        return self._takes_bfloat16

    def _try_layout(self) -> torch.memory_format:
        if isinstance(self.network, Classifier):  # a front counts questions
            return self.network.layout
        ways = (False, True) if self.takes_bfloat16 else (False,)
        if Access.WEIGHTS in self.gives and all(
            self._computes(torch.channels_last, half=half) for half in ways
        ):
            return torch.channels_last
        return torch.contiguous_format

    def _computes(
        self, layout: torch.memory_format = torch.contiguous_format, *, half: bool = False
    ) -> bool:
        """Tell whether two black images go through the network, it and they in this way."""
        device, was_training = self.mean.device, self.training
        self.eval()
        try:
            with (
                torch.inference_mode(False),
                torch.enable_grad(),
                torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
                torch.autocast(device.type, torch.bfloat16, half),
            ):
                images = torch.zeros(2, *self.card.input_shape, device=device, requires_grad=True)
                weights = {
                    name: weight.detach().to(memory_format=layout) if weight.ndim == 4 else weight
                    for name, weight in self.named_parameters()
                }
                functional_call(self, weights, (images.contiguous(memory_format=layout),))
        # Whatever a stranger's code cannot do, it says in its own words.
        except Exception:
            return False
        finally:
            self.train(was_training)
        return True

    def is_finite(self) -> bool:
        """Tell whether all weights and buffers are finite numbers."""
        return all(
            bool(torch.isfinite(tensor).all())
            for tensor in self.network.state_dict().values()
            if tensor.is_floating_point()
        )

    def freeze(self) -> Self:
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
    before : sequence of callables
        From the same images to what went into the squashing functions that the answers end
        in, the last function first, where the runtime can give it.
    """

    gives = frozenset({Access.LOGITS})
    stackable = False

    def __init__(self, answer: Answer, card: ModelCard, before: Sequence[Answer] = ()) -> None:
        super().__init__(_Asked(answer, before), card)


class _Asked(nn.Module):
    """Callables over arrays in the place of a network."""

    def __init__(self, answer: Answer, before: Sequence[Answer]) -> None:
        super().__init__()
        self._asks = (answer, *before)

    def forward(self, images: Tensor) -> Tensor:
        """Return the answers [N, K]; no gradient flows through them."""
        return self._ask(self._asks[0], images)

    def levels(self, images: Tensor, depth: int) -> tuple[Tensor, ...]:
        """Return the answers, and what went into `depth` squashing functions if so many are known.

        Else nothing is asked, as every question may have its price.
        """
        if depth >= len(self._asks):
            return ()
        return tuple(self._ask(ask, images) for ask in self._asks[: depth + 1])

    def _ask(self, ask: Answer, images: Tensor) -> Tensor:
        asked = np.ascontiguousarray(images.detach().cpu().numpy(), dtype=np.float32)
        answers = np.array(ask(asked), dtype=np.float32)
        return torch.from_numpy(answers).to(images.device)
