"""A network's features: what its last layer reads."""

from __future__ import annotations

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
    last: list[Tensor] = []
    parts: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        last[:] = [inputs[0].detach().flatten(1).float().cpu()]

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_pre_hook(keep) for module in linear]
    try:
        for batch in images.split(500):  # type: ignore[no-untyped-call]
            last.clear()
            logits_of(model, batch, len(batch))
            parts += last
    finally:
        for hook in hooks:
            hook.remove()
    if not parts:
        raise UnsuitableSubjectError(mismatch("layers of the model", "a linear layer", "none"))
    return torch.cat(parts)
