"""Subjects that bring their own graph: ``torch.export`` files; what all graphs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molehunt.errors import MolehuntError, UnreadableFileError, mismatch, reason_of
from molehunt.networks import Access, Classifier, ModelCard, logits_in
from molehunt.provenance import check_operators, load_exported
from molehunt.subjects._feeding import Feeding, feeding_of

Answer = Callable[[NDArray[np.float32]], NDArray[Any]]
_BATCH = 256  # images a call where the graph leaves the number open
_TYPES = {torch.float32: "float", torch.float64: "double"}


def open_exported(path: Path, card: ModelCard, output: str | None = None) -> Classifier:
    """Open a ``torch.export`` file (``.pt2``); the file was inspected before.

    Parameters
    ----------
    path : Path
    card : ModelCard
    output : str, optional
        Which of several outputs holds the answers; see `molehunt.networks.logits_in`.

    Raises
    ------
    UnreadableFileError
        If torch cannot load it, or it takes something else than images.
    InvalidRequestError
        If the graph takes other images than the contract says.
    """
    try:
        program = load_exported(path)  # only bytes that were judged are loaded
        module = program.module()
        check_operators(module)
    except MolehuntError:
        raise
    except Exception as error:  # torch raises anything here
        message = reason_of(error)
        raise UnreadableFileError(f"{path}: torch.export cannot load it: {message}") from error
    values = {
        node.name: node.meta.get("val")
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    }
    feeding = feeding_of(path, [_describe(name, value) for name, value in values.items()], card)
    model = Classifier(_Graph(module, feeding, card.num_classes, output), card)
    model.stackable = False
    if feeding.takes_bytes:
        model.gives = frozenset({Access.LOGITS})
        model.mean.zero_()
        model.std.fill_(1)
    model.requires_grad_(False)
    return model


def _describe(name: str, value: Any) -> tuple[str, str, list[Any]]:
    """Return an input's name, type and shape; open sides are no ints."""
    if not isinstance(value, Tensor):
        return name, type(value).__name__, []
    kind = _TYPES.get(value.dtype, str(value.dtype).removeprefix("torch."))
    return name, kind, [side if isinstance(side, int) else "open" for side in value.shape]


class _Graph(nn.Module):
    """A graph that is fed as it wants: so many images at once, in its layout and type."""

    def __init__(
        self, graph: nn.Module, feeding: Feeding, num_classes: int, output: str | None
    ) -> None:
        super().__init__()
        self.graph = graph
        self.feeding = feeding
        self.num_classes = num_classes
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        """Return the answers [N, K] for images [N, C, H, W]."""
        images = self.feeding.inputs(images)
        batch = self.feeding.batch
        if batch is None:
            return self._ask(images)
        parts = []
        for part in torch.split(images, batch):
            short = batch - len(part)
            padded = torch.cat([part, part[-1:].expand(short, *part.shape[1:])]) if short else part
            parts.append(self._ask(padded)[: len(part)])
        return torch.cat(parts)

    def train(self, mode: bool = True) -> _Graph:
        """Do nothing: an exported graph has its mode built in and refuses to be asked."""
        self.training = mode
        return self

    def _ask(self, images: Tensor) -> Tensor:
        return logits_in(self.graph(images), self.num_classes, self.output)


def in_batches(answer: Answer, batch: int | None, most: int = _BATCH) -> Answer:
    """Return `answer` for any number of images: `batch` at once, or up to `most`."""

    def answered(images: NDArray[np.float32]) -> NDArray[Any]:
        size = batch or most
        parts = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            count = len(part)
            if batch and count < batch:
                part = np.concatenate([part, np.repeat(part[-1:], batch - count, axis=0)])
            parts.append(answer(part)[:count])
        return np.concatenate(parts)

    return answered


def as_logits(answer: Answer, classes: int) -> Answer:
    """Return `answer` with its shape checked; what its numbers are `recognise` finds out.

    Raises
    ------
    UnreadableFileError
        From the returned function, if an answer is not one number a class and image.
    """

    def checked(images: NDArray[np.float32]) -> NDArray[Any]:
        answers = np.asarray(answer(images))
        if answers.shape != (len(images), classes):
            raise UnreadableFileError(
                mismatch("answers of the model", f"shape {(len(images), classes)}", answers.shape)
            )
        return answers

    return checked
