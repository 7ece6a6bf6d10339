"""A network's features: what its last layer reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.networks._classifier import Classifier
from molehunt.networks._logits import logits_of


def features_of(model: Classifier, images: Tensor) -> Tensor:
    """Return what the last linear layer that runs reads: the penultimate representation.

    Parameters
    ----------
    model : Classifier
    images : Tensor of uint8, shape [N, C, H, W]

    Returns
    -------
    Tensor of float32, shape [N, D]
        On the CPU.

    Raises
    ------
    UnsuitableSubjectError
        If no linear layer is seen, as in a graph or behind an endpoint.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier, features_of
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> features_of(model, digits.images[:7]).shape
    torch.Size([7, 32])
    """
    parts: list[Tensor] = []
    with _watch_features(model) as last:
        for batch in images.split(500):  # type: ignore[no-untyped-call]
            logits_of(model, batch, len(batch))
            parts += [_seen(last).cpu()]
    return torch.cat(parts)


def logits_and_features(model: Classifier, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits [N, K] and features [N, D] of one batch, both with gradients.

    Parameters
    ----------
    model : Classifier
    pixels : Tensor of float32, shape [N, C, H, W], in [0, 1]
        On the model's device.

    Raises
    ------
    UnsuitableSubjectError
        As `features_of`.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier, logits_and_features
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> pixels = digits.pixels()[:7].requires_grad_()
    >>> logits, features = logits_and_features(model, pixels)
    >>> features.sum().backward()
    >>> logits.shape, pixels.grad.shape
    (torch.Size([7, 10]), torch.Size([7, 1, 12, 12]))
    """
    with _watch_features(model) as last:
        logits: Tensor = model(pixels)
        return logits, _seen(last)


@contextmanager
def _watch_features(model: Classifier) -> Iterator[list[Tensor]]:
    """Yield a list that holds what the last linear layer read, once the model was asked."""
    last: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        last[:] = [inputs[0].flatten(1).float()]

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_pre_hook(keep) for module in linear]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def _seen(last: list[Tensor]) -> Tensor:
    """Take the features out of the list, so that a batch never gets those of the one before."""
    if not last:
        raise UnsuitableSubjectError(mismatch("layers of the model", "a linear layer", "none"))
    return last.pop()
