"""Dormant units: what never fires on clean images, and whether something wakes it.

BadNets (v2, section 6.1) suggests to look for parts of a network that are never active
during validation, and to inspect what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks._classifier import Classifier
from molehunt.networks._logits import logits_of

UnitKind = Literal["channel", "neuron"]


@dataclass(frozen=True)
class DormantUnits:
    """What `dormant_units` found in one layer.

    Parameters
    ----------
    layer : str
        Name of the module whose output was looked at.
    threshold : float
        A unit is active above it.
    largest_clean : Tensor of float32, shape [U] or [U, H, W]
        Each unit's largest activation on the clean images.
    largest_triggered : Tensor of float32, same shape, optional
        The same on the triggered images.
    dormant : Tensor of bool, same shape
        Units that were never active on the clean images.
    woken_share : float, optional
        Share of triggered images that wake at least one dormant unit, in [0, 1].
    """

    layer: str
    threshold: float
    largest_clean: Tensor
    largest_triggered: Tensor | None
    dormant: Tensor
    woken_share: float | None

    @property
    def woken(self) -> Tensor:
        """Dormant units that were active on a triggered image: bool, as `dormant`."""
        if self.largest_triggered is None:
            return torch.zeros_like(self.dormant)
        return self.dormant & (self.largest_triggered > self.threshold)


def dormant_units(
    model: Classifier,
    clean: Tensor,
    triggered: Tensor | None = None,
    *,
    unit: UnitKind = "channel",
    threshold: float = 0.0,
) -> DormantUnits:
    """Find the units of the last convolutional layer that clean images never activate.

    The last convolution is the one that runs last. Its output is taken after the batch
    normalisation that follows it, if one does, and after a ReLU that is applied here, so
    that it does not matter how the network spells its own. In a residual network this is
    before the sum with the shortcut.

    Parameters
    ----------
    model : Classifier
    clean : Tensor of uint8, shape [N, C, H, W]
        Clean images, as a validation set has them. The more there are, the fewer units
        are dormant by chance.
    triggered : Tensor of uint8, shape [M, C, H, W], optional
        Images of which it is asked whether they wake dormant units.
    unit : {"channel", "neuron"}
        A channel is active when it is so at any place; a neuron is one channel at one place.
    threshold : float
        A unit is active above it; 0 asks for units that are exactly silent.

    Raises
    ------
    InvalidRequestError
        If there are no images, or they do not fit the model.
    UnsuitableSubjectError
        If the model has no convolution.
    """
    for name, images in (("clean", clean), ("triggered", triggered)):
        if images is not None:
            _check_images(name, images, model)
    name, layer = _last_convolution(model, clean[:1])
    largest_clean = torch.zeros(())
    for activations in _activations(model, layer, clean, unit):
        largest_clean = torch.maximum(largest_clean, activations.amax(0))
    dormant = largest_clean <= threshold
    if triggered is None:
        return DormantUnits(name, threshold, largest_clean, None, dormant, None)
    largest, woken = torch.zeros(()), 0
    for activations in _activations(model, layer, triggered, unit):
        largest = torch.maximum(largest, activations.amax(0))
        woken += int((activations[:, dormant] > threshold).any(1).sum())
    return DormantUnits(name, threshold, largest_clean, largest, dormant, woken / len(triggered))


def mean_activations(model: Classifier, clean: Tensor) -> tuple[str, Tensor]:
    """Return each channel's mean rectified output in the last convolutional layer.

    The layer is that of `dormant_units`.

    Parameters
    ----------
    model : Classifier
    clean : Tensor of uint8, shape [N, C, H, W]

    Returns
    -------
    layer : str
        Name of the module whose output was looked at.
    means : Tensor of float32, shape [U]

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `dormant_units`.
    """
    _check_images("clean", clean, model)
    name, layer = _last_convolution(model, clean[:1])
    batches = _activations(model, layer, clean, "neuron")
    total = torch.stack([batch.mean((2, 3)).sum(0) for batch in batches]).sum(0)
    return name, total / len(clean)


def _check_images(name: str, images: Tensor, model: Classifier) -> None:
    allowed = f"uint8 of shape [1 or more, {', '.join(map(str, model.card.input_shape))}]"
    fits = images.dtype == torch.uint8 and tuple(images.shape[1:]) == model.card.input_shape
    if not fits or not len(images):
        got = f"{images.dtype} of shape {tuple(images.shape)}"
        raise InvalidRequestError(mismatch(f"{name} images", allowed, got))


def _last_convolution(model: Classifier, image: Tensor) -> tuple[str, nn.Module]:
    """Return the module whose output stands for the last convolution that runs."""
    leaves = {name: module for name, module in model.named_modules() if not [*module.children()]}
    ran: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: ran.append(name)

    hooks = [module.register_forward_hook(note(name)) for name, module in leaves.items()]
    try:
        logits_of(model, image)
    finally:
        for hook in hooks:
            hook.remove()
    places = [place for place, name in enumerate(ran) if isinstance(leaves[name], nn.Conv2d)]
    if not places:
        raise UnsuitableSubjectError(mismatch("layers of the model", "a convolution", "none"))
    name = ran[places[-1]]
    after = ran[places[-1] + 1 : places[-1] + 2]
    if after and isinstance(leaves[after[0]], nn.BatchNorm2d):
        name = after[0]
    return name, leaves[name]


def _activations(
    model: Classifier, layer: nn.Module, images: Tensor, unit: UnitKind, batch_size: int = 500
) -> Iterator[Tensor]:
    """Yield the layer's rectified outputs, [n, U] or [n, U, H, W], batch after batch."""
    for batch in images.split(batch_size):  # type: ignore[no-untyped-call]
        with _captured(layer) as outputs:
            logits_of(model, batch, batch_size)
        rectified = outputs[-1].float().clamp(min=0).cpu()
        yield rectified if unit == "neuron" else rectified.amax((2, 3))


@contextmanager
def _captured(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer gives while the context is open."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append(output.detach())

    hook = layer.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        hook.remove()
