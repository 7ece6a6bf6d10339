"""Many models at once: their weights stacked, one vectorised forward pass a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.func import functional_call

from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.networks import Classifier, architecture_key, stack_models

# On CPU chunks of about 10 models are fastest; on CUDA the more the better.
CHUNK_ON_CPU = 10
CHUNK_ON_CUDA = 100


class Stack(Protocol):
    """Models that answer together; `positions` are their places where they come from."""

    @property
    def positions(self) -> list[int]: ...

    def logits(self, patterns: Tensor, drop: float = 0.0) -> Tensor: ...


@dataclass(frozen=True)
class SingleModel:
    """A model that cannot be stacked, such as one that only answers, by itself."""

    positions: list[int]
    model: Classifier

    def logits(self, patterns: Tensor, drop: float = 0.0) -> Tensor:
        """Return logits [1, M, K] for patterns [M, C, H, W], pixels in [0, 1].

        Raises
        ------
        UnsuitableSubjectError
            If units are to be dropped, or the answers have another shape.
        """
        if drop:
            raise UnsuitableSubjectError(
                mismatch("model", "one of our own architectures for dropout", "one that is not")
            )
        logits: Tensor = self.model(patterns)
        shape = (len(patterns), self.model.card.num_classes)
        if tuple(logits.shape) != shape:
            raise UnsuitableSubjectError(
                mismatch("shape of the model's answers", shape, tuple(logits.shape))
            )
        return logits[None]


@dataclass(frozen=True)
class ModelStack:
    """Models of one architecture with their weights stacked along a first dimension.

    `positions` are the models' places in the sequence that they come from.
    """

    positions: list[int]
    skeleton: Classifier
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]

    def logits(self, patterns: Tensor, drop: float = 0.0) -> Tensor:
        """Return logits [n, M, K] of the n models for patterns [M, C, H, W].

        Parameters
        ----------
        patterns : Tensor of float32
            Pixels in [0, 1]; gradients flow to them.
        drop : float
            Share of each layer's inputs that is dropped (units, not pixels), drawn for
            each model from torch's global generator, as torch's own dropout does.
        """
        parameters = self._drop_units(drop) if drop else self.parameters

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            logits: Tensor = functional_call(self.skeleton, (parameters, buffers), (patterns,))
            return logits

        stacked: Tensor = torch.vmap(one)(parameters, self.buffers)
        return stacked

    def _drop_units(self, share: float) -> dict[str, Tensor]:
        """Return the weights with inputs of hidden layers zeroed and the rest scaled up.

        Zeroing what a layer takes from a unit is dropping the unit's output: dropout for
        networks that were built without it.
        """
        channels = self.skeleton.card.input_shape[0]
        result = {}
        for name, weight in self.parameters.items():
            # Weights are [n, out, in, ...]; a layer that takes the image is left alone.
            if weight.ndim < 3 or weight.shape[2] == channels:
                result[name] = weight
                continue
            shape = [len(weight), 1, weight.shape[2], *[1] * (weight.ndim - 3)]
            keep = torch.rand(shape, device=weight.device) >= share
            result[name] = weight * keep / (1 - share)
        return result


def stacks_of(
    models: Iterable[Classifier], device: torch.device, chunk: int | None = None
) -> Iterator[Stack]:
    """Yield stacks of at most `chunk` models of one architecture each.

    A model that cannot be stacked is yielded by itself.

    Models are taken from the iterable as stacks fill, so that a lazy sequence is never
    whole in memory unless the caller keeps the stacks. Models are put in evaluation mode.
    """
    size = chunk or chunk_on(device)
    waiting: dict[str, list[tuple[int, Classifier]]] = {}
    for position, model in enumerate(models):
        if not model.stackable:
            yield SingleModel([position], model.to(device).freeze())
            continue
        key = architecture_key(model)
        waiting.setdefault(key, []).append((position, model))
        # No name holds the group: its models are let go before their stack is used.
        if len(waiting[key]) == size:
            yield _stack(waiting.pop(key), device)
    for key in list(waiting):
        yield _stack(waiting.pop(key), device)


def chunk_on(device: torch.device) -> int:
    """Return how many models a stack holds on a device."""
    return CHUNK_ON_CUDA if device.type == "cuda" else CHUNK_ON_CPU


def _stack(group: list[tuple[int, Classifier]], device: torch.device) -> ModelStack:
    stack = stack_models([model.to(device).freeze() for _, model in group])
    return ModelStack([position for position, _ in group], *stack)
