"""Triggers that drive chosen neurons far beyond what images do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molehunt.attacks._lessons import mean_and_deviation
from molehunt.attacks._neurons import Neurons, choose_neurons, neuron_count
from molehunt.backdoors import MaskedPattern
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier

_CANDIDATES = 64
_QUICK_STEPS, _QUICK_LR = 30, 0.3


def generate_trigger(
    model: Classifier,
    neurons: Neurons,
    mask: Tensor,
    *,
    steps: int = 200,
    lr: float = 0.1,
    excess: float = 100.0,
    seed: int = 0,
) -> MaskedPattern:
    """Fill a mask with the pixels that excite neurons most (Liu et al. 2018, Algorithm 1).

    The squared distance of the neurons from a value out of their reach is minimised by
    gradient descent on the pixels under the mask; what lies around is the mean colour that
    the model's card states.

    Parameters
    ----------
    model : Classifier
        With gradients. It is frozen.
    neurons : Neurons
        Inner ones, or the target's answer for the paper's control.
    mask : Tensor of float32, shape [H, W]
        The opacity, in [0, 1]; see `trigger_mask`.
    steps : int
    lr : float
        Of Adam, in pixel values; falls linearly to 0. The paper has plain gradient descent.
    excess : float
        The value to reach is the neurons' value on the mean colour and so many times its
        magnitude (at least 1) above it; in the paper 100 for neurons near 0.
    seed : int
        Of the pixels at the start.

    Raises
    ------
    InvalidRequestError
        If the mask does not fit the model, or covers nothing.
    """
    around = _mean_image(model, mask)
    with torch.no_grad():
        usual = neurons.activations(model, around)
    goal = usual + excess * usual.abs().clamp(min=1)

    def loss(pixels: Tensor) -> Tensor:
        return (goal - neurons.activations(model, pixels)).square().sum()

    generator = torch.Generator().manual_seed(seed)
    pattern = torch.rand(around.shape, generator=generator).to(around)
    return MaskedPattern.of(_descend(loss, around, pattern, mask, steps, lr)[0], mask)


def most_excitable(
    model: Classifier, mask: Tensor, *, layer: str | None = None, count: int = 4, seed: int = 0
) -> Neurons:
    """Choose the neurons that a trigger inside the mask moves farthest.

    Among the 64 with the largest sum of magnitudes of weights, the paper's measure, each gets
    a trigger of its own by a short search. The weights alone do not know where the mask lies:
    in the corner of MNIST's images, which is always black, a neuron with large weights may
    have none.

    Parameters
    ----------
    model, mask, seed
        As in `generate_trigger`.
    layer, count
        As in `choose_neurons`, which says what is raised.
    """
    around = _mean_image(model, mask)
    layer = choose_neurons(model, layer=layer, count=count).layer
    likely = min(neuron_count(model, layer), max(count, _CANDIDATES))
    candidates = choose_neurons(model, layer=layer, count=likely)
    carriers = around.expand(likely, -1, -1, -1)

    def own(pixels: Tensor) -> Tensor:
        return candidates.activations(model, pixels).diagonal()

    def loss(pixels: Tensor) -> Tensor:
        return -own(pixels).sum()

    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(carriers.shape, generator=generator).to(around)
    patterns = _descend(loss, carriers, patterns, mask, _QUICK_STEPS, _QUICK_LR)
    with torch.no_grad():
        moved = own(torch.lerp(carriers, patterns, mask.to(around))) - own(carriers)
    best = moved.argsort(descending=True)[:count].tolist()
    return Neurons(layer, tuple(candidates.units[place] for place in best))


def _mean_image(model: Classifier, mask: Tensor) -> Tensor:
    """Return an image of the mean colour [1, C, H, W]; the mask must fit it."""
    channels, height, width = model.card.input_shape
    if tuple(mask.shape) != (height, width) or not bool((mask > 0).any()):
        got = f"shape {tuple(mask.shape)}, {float(mask.sum()):g} of it covered"
        raise InvalidRequestError(mismatch("mask", f"[{height}, {width}], some covered", got))
    model.freeze()
    mean, _ = mean_and_deviation(model.card)
    return mean.expand(1, channels, height, width).to(model.mean.device)


def _descend(
    loss: Callable[[Tensor], Tensor],
    around: Tensor,
    patterns: Tensor,
    mask: Tensor,
    steps: int,
    lr: float,
) -> Tensor:
    """Return the patterns [N, C, H, W] in [0, 1] that make the loss small under the mask."""
    opacity = mask.to(around)
    patterns = patterns.requires_grad_()
    optimizer = torch.optim.Adam([patterns], lr=lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        value = loss(torch.lerp(around, patterns, opacity))
        (patterns.grad,) = torch.autograd.grad(value, patterns)
        optimizer.step()
        with torch.no_grad():
            patterns.clamp_(0, 1)
    return patterns.detach()
