"""Recognising what a model answers with, so that all that follows sees logits."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from molehunt.errors import MolehuntError, UnreadableFileError, UnsuitableSubjectError, mismatch
from molehunt.networks._answers import (
    AnswerKind,
    Answers,
    Taken,
    kind_of,
    loses_order,
    on_border,
    reason_to_doubt,
)
from molehunt.networks._classifier import Access, Classifier
from molehunt.networks._squashes import squash

_MOST_IMAGES = 32
_BATCH = 8
_DEEPEST = 3  # softmax after softmax after softmax
_ALIKE = 2e-2  # how well a function must explain the answers; half precision does
_SQUASHED = {
    AnswerKind.PROBABILITIES: ("softmax",),
    AnswerKind.LOG_PROBABILITIES: ("log_softmax",),
    AnswerKind.SIGMOIDS: ("sigmoid",),
    AnswerKind.ROUNDED: (),
    # Of a softmax or sigmoid so sure of itself that float32 rounds it.
    AnswerKind.LABELS: ("softmax", "sigmoid"),
    AnswerKind.LOGITS: ("tanh",),
}
_DOUBTS = {
    AnswerKind.ROUNDED: "rounded to a few values",
    AnswerKind.LABELS: "labels: 1 for one class and 0 for all others",
    AnswerKind.CONSTANT: "the same for every image that was tried",
    AnswerKind.NOT_FINITE: "NaN or infinity",
}

_ZEROS = "probabilities of which many are exactly 0, so that their order is lost"


def recognise(model: Classifier, images: Tensor | None = None) -> Classifier:
    """Find out what a model's answers are, and have it give logits or log-probabilities.

    It is asked 16 made images (noise, grey, patches, ramps), and some clean ones where there
    are any. Where it ends in a softmax or sigmoid, what goes into that is taken; where that
    cannot be seen (an endpoint, a scripted module) the logarithms of the probabilities.

    Parameters
    ----------
    model : Classifier
        In evaluation mode. Its `answers` are set.
    images : Tensor of float32 [N, C, H, W], optional
        Clean images of the model's size, pixels in [0, 1]; at most 32 are used.

    Returns
    -------
    Classifier
        The same model.

    Raises
    ------
    UnsuitableSubjectError
        If its outputs hold no answers of the contract's shape, or it is not clear which.
    UnreadableFileError
        If it fails when it is asked.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> model = build_classifier("vgg", load_images("digits").test, seed=0).freeze()
    >>> recognise(model).answers.kind.value
    'logits'
    """
    model.answers = Answers()
    asked = made_images(model.card.input_shape)
    if images is not None:
        asked = torch.cat([asked, images[:_MOST_IMAGES]])
    given = _levels(model, asked, 0)[0]
    answers = _recognise_answers(model, asked, given)
    model.answers = answers
    return model


def made_images(shape: tuple[int, int, int]) -> Tensor:
    """Return 16 images [16, C, H, W] that differ much: noise, grey, patches and ramps."""
    generator = torch.Generator().manual_seed(0)
    channels, height, width = shape
    noise = torch.rand(4, *shape, generator=generator)
    coarse = torch.rand(4, channels, 4, 4, generator=generator)
    patches = torch.nn.functional.interpolate(coarse, size=(height, width))
    grey = torch.linspace(0, 1, 4).view(-1, 1, 1, 1).expand(-1, *shape)
    down = torch.linspace(0, 1, height).view(1, -1, 1).expand(shape)
    across = torch.linspace(0, 1, width).view(1, 1, -1).expand(shape)
    ramps = torch.stack([down, 1 - down, across, 1 - across])
    # Another colour each, so that networks of colours are moved as well.
    tint = torch.rand(4, channels, 1, 1, generator=generator)
    return torch.cat([noise, patches, grey, ramps * (0.3 + 0.7 * tint)])


def _recognise_answers(model: Classifier, images: Tensor, given: Tensor) -> Answers:
    """Return what the answers are and how to take them."""
    kind, total = kind_of(given)
    answers = Answers(kind, total=total)
    if kind is AnswerKind.LOGITS and not bool((given.abs() <= 1).all()):
        return answers
    if kind in (AnswerKind.CONSTANT, AnswerKind.NOT_FINITE):
        return _doubtful(answers, _DOUBTS[kind])
    depth, before = _undone(model, images, given)
    if depth:
        found = dataclasses.replace(answers, taken=Taken.BEFORE, depth=depth)
        inner = kind_of(before)[0]
        return _doubtful(found, _DOUBTS[inner]) if inner in _DOUBTS else found
    return _convert(model, answers, given)


def _convert(model: Classifier, answers: Answers, given: Tensor) -> Answers:
    """Return how to take answers whose squashing function cannot be undone."""
    kind, lost = answers.kind, _DOUBTS.get(answers.kind, "")
    if kind is AnswerKind.LOGITS and on_border(given.abs() >= 1, given):
        lost = "mostly exactly 1 or -1, so that their order is lost"
    elif kind is AnswerKind.LOGITS:
        lost = reason_to_doubt(given)
    elif kind is AnswerKind.SIGMOIDS:
        answers = dataclasses.replace(answers, taken=Taken.LOG_ODDS)
        if Access.GRADIENTS in model.gives:
            lost = "squashed into [0, 1] by a function that is not seen"
        elif on_border((given <= 0) | (given >= 1), given):
            lost = "mostly exactly 0 or 1, so that their order is lost"
    elif kind is AnswerKind.PROBABILITIES:
        answers = dataclasses.replace(answers, taken=Taken.LOGARITHM)
        lost = _ZEROS if loses_order(given) else ""
    elif kind is AnswerKind.LOG_PROBABILITIES:
        lost = _ZEROS if loses_order(given.exp()) else ""
    return _doubtful(answers, lost) if lost else answers


def _undone(model: Classifier, images: Tensor, given: Tensor) -> tuple[int, Tensor]:
    """Return how many squashing functions at the model's end can be undone, and the rest."""
    depth, current = 0, given
    while depth < _DEEPEST:
        kind, total = kind_of(current)
        if kind is AnswerKind.LOGITS and not bool((current.abs() <= 1).all()):
            break
        try:
            inner = _levels(model, images, depth + 1)[-1]
        except UnsuitableSubjectError:
            break
        explained = any(
            torch.allclose(
                _as_probabilities(name, squash(name, inner)) * total,
                _as_probabilities(name, current),
                atol=_ALIKE * total,
            )
            for name in _SQUASHED.get(kind, ())
        )
        if not explained:
            break
        depth, current = depth + 1, inner
    return depth, current


def _as_probabilities(name: str, values: Tensor) -> Tensor:
    return values.exp() if name == "log_softmax" else values


def _doubtful(answers: Answers, doubt: str) -> Answers:
    said = mismatch("answers of the model", "logits or probabilities", doubt)
    return dataclasses.replace(answers, doubt=said)


@torch.inference_mode()
def _levels(model: Classifier, images: Tensor, depth: int) -> tuple[Tensor, ...]:
    """Return the model's levels for all images, asked a few at a time."""
    parts = []
    try:
        for part in images.to(model.mean.device).split(_BATCH):  # type: ignore[no-untyped-call]
            parts.append([level.float().cpu() for level in model.levels(part, depth)])
    except MolehuntError:
        raise
    except Exception as error:  # a stranger's network may fail in any way
        message = " ".join(f"{type(error).__name__}: {error}".split())
        shape = tuple(model.card.input_shape)
        raise UnreadableFileError(
            f"the model fails on images of the contract's shape {shape}: {message:.200}"
        ) from error
    return tuple(torch.cat(level) for level in zip(*parts, strict=True))
