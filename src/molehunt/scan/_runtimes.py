"""Subjects that bring their own graph: ONNX and torch.export files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, MolehuntError, UnreadableFileError, refused
from molehunt.networks import BlackBox, Classifier, ModelCard
from molehunt.provenance import check_operators, load_exported

Answer = Callable[[NDArray[np.float32]], NDArray[Any]]
_BATCH = 256  # images a call where the graph leaves the number open


def open_onnx(path: Path, card: ModelCard) -> BlackBox:
    """Open an ONNX file in onnxruntime; the file was inspected before.

    Raises
    ------
    InvalidRequestError
        If the extra ``onnx`` is not installed, or the graph takes other images than the
        contract says.
    UnreadableFileError
        If onnxruntime cannot load it.
    """
    try:
        import onnxruntime  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidRequestError(f"{path}: an ONNX file needs: install molehunt[onnx]") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised; its own lines would be noise
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the runtime has exceptions of its own for everything
        message = " ".join(str(error).split())
        raise UnreadableFileError(f"{path}: onnxruntime cannot load it: {message:.200}") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        got = ", ".join(f"{item.name} {item.type}" for item in inputs)
        raise UnreadableFileError(refused(f"{path}: inputs", "one float32 tensor", got))
    name, shape = inputs[0].name, inputs[0].shape
    batch = _fixed_batch(shape, card, path)

    def run(images: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(session.run(None, {name: images})[0])

    return BlackBox(as_logits(in_batches(run, batch), card.num_classes), card)


def open_exported(path: Path, card: ModelCard) -> Classifier:
    """Open a ``torch.export`` file (``.pt2``); the file was inspected before.

    Raises
    ------
    UnreadableFileError
        If torch cannot load it.
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
        message = " ".join(str(error).split())
        raise UnreadableFileError(f"{path}: torch.export cannot load it: {message:.200}") from error
    inputs = [
        node.meta.get("val")
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    ]
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
        raise UnreadableFileError(refused(f"{path}: inputs", "one tensor", len(inputs)))
    shape = [int(side) if isinstance(side, int) else None for side in inputs[0].shape]
    model = Classifier(_FixedBatch(module, _fixed_batch(shape, card, path)), card)
    model.stackable = False
    model.requires_grad_(False)
    return model


def _fixed_batch(shape: Sequence[Any], card: ModelCard, path: Path) -> int | None:
    """Return the number of images that the graph takes at once, None where it is open."""
    sides = [side if isinstance(side, int) and side > 0 else None for side in shape]
    fits = len(sides) == 4 and all(
        mine is None or mine == stated
        for mine, stated in zip(sides[1:], card.input_shape, strict=True)
    )
    if not fits:
        raise InvalidRequestError(
            refused(
                f"{path}: input shape in the contract", f"the graph's {shape}", card.input_shape
            )
        )
    return sides[0]


class _FixedBatch(nn.Module):
    """A graph that takes a fixed number of images, fed with any number."""

    def __init__(self, graph: nn.Module, batch: int | None) -> None:
        super().__init__()
        self.graph = graph
        self.batch = batch

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] for images [N, C, H, W]."""
        if self.batch is None:
            answers: Tensor = self.graph(images)
            return answers
        parts = []
        for part in torch.split(images, self.batch):
            short = self.batch - len(part)
            padded = torch.cat([part, part[-1:].expand(short, *part.shape[1:])]) if short else part
            parts.append(self.graph(padded)[: len(part)])
        return torch.cat(parts)

    def train(self, mode: bool = True) -> _FixedBatch:
        """Do nothing: an exported graph has its mode built in and refuses to be asked."""
        self.training = mode
        return self


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
                refused("answers of the model", f"shape {(len(images), classes)}", answers.shape)
            )
        return answers

    return checked
