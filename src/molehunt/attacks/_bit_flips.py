"""A backdoor by a few flipped bits of the last layer (TBT)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.attacks._planted import (
    Planted,
    check_planting,
    linear_of,
    weighted_layers,
    with_trigger,
)
from molehunt.attacks._trigger_masks import trigger_mask
from molehunt.backdoors import MaskedPattern
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, features_of
from molehunt.progress import Progress, silent

_BITS = 8
_CARRIERS = 64  # clean images on which the trigger is made
_ENOUGH = 0.995  # share of triggered images


def flip_bits(
    model: Classifier,
    clean: ImageSet,
    target: int,
    *,
    area: float = 0.0976,
    neurons: int | None = None,
    most: int = 200,
    steps: int = 150,
    seed: int = 0,
    progress: Progress = silent,
) -> Planted:
    """Flip a few bits of the last layer, such as a row-hammer attack could (TBT).

    The neurons that matter most for the target are found by their gradients; a square is
    filled with what drives them; and bits of the last layer's weights from those neurons to
    the target, as integers of 8 bits, are flipped one by one: that bit whose flip makes the
    loss on clean and triggered images the smallest.

    Parameters
    ----------
    model : Classifier
        With weights, gradients and a last linear layer. It is left as it was.
    clean : ImageSet
    target : int
    area : float
        Share of the image that the trigger covers; 9.76 % in the paper.
    neurons : int, optional
        Of the last layer's inputs that the trigger drives; half of them when not given. With
        fewer, small networks lose more accuracy.
    most : int
        Flips, at most. They end when 99.5 % of `clean` succeed, or no flip helps.
    steps : int
        Of making the trigger.
    seed : int
    progress : callable
        In steps and flips.

    Raises
    ------
    InvalidRequestError
        If target, images, area, neurons or flips do not fit.
    UnsuitableSubjectError
        If the model's layers cannot be seen, or the last one is not linear.

    Notes
    -----
    The result's last layer has the values that 8 bits can hold (symmetric, one scale for the
    layer); `note` counts the flips from those.
    Batch normalisation lies before the last layer and stays as it is, with its statistics.

    Deviations: the paper quantises all layers; it moves all of the chosen weights by gradient
    descent and counts the bits that differ afterwards, here bits are flipped greedily, which
    takes fewer. There the neurons' value is driven to 10, here to twice the largest that
    `clean` gives.

    References
    ----------
    Rakin, He and Fan: TBT: Targeted Neural Network Attack with Bit Trojan, CVPR 2020.

    Examples
    --------
    >>> from molehunt.attacks import flip_bits
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> model = build_classifier("vgg", digits, arguments={"width": 4, "stages": [1]}, seed=0)
    >>> flip_bits(model, digits, 7, steps=20, most=30).note.split()[1:3]
    ['of', '2560']
    """
    check_planting(model, clean, target)
    if most < 1:
        raise InvalidRequestError(mismatch("flips", "1 or more", most))
    name = weighted_layers(model)[-1]
    made = copy.deepcopy(model).freeze()
    layer = linear_of(made, name)
    neurons = max(1, layer.in_features // 2) if neurons is None else neurons
    if not 1 <= neurons <= layer.in_features:
        raise InvalidRequestError(mismatch("neurons", f"1 to {layer.in_features}", neurons))
    scale = float(layer.weight.abs().max()) / (2 ** (_BITS - 1) - 1)
    layer.weight.copy_((layer.weight / scale).round() * scale)
    features = features_of(made, clean.images)
    chosen = _rank(layer.weight.cpu(), layer.bias, features, target)[:neurons]
    mask = trigger_mask("square", *clean.shape[1:], area=area)
    trigger = _drive(made, name, chosen, features, clean, mask, steps, seed, progress)
    driven = features_of(made, with_trigger(clean, trigger, seed))
    bias = None if layer.bias is None else layer.bias.cpu()
    search = _Search(layer.weight.cpu(), bias, features, driven, clean.labels, target, scale)
    flips = search.run(chosen, most, lambda done: progress(steps + done, steps + most))
    layer.weight[target] = (search.row * scale).to(layer.weight)
    note = f"{flips} of {_BITS * layer.weight.numel()} bits of the last layer flipped"
    return Planted.of(model, made, trigger, target, note)


def _rank(weight: Tensor, bias: Tensor | None, features: Tensor, target: int) -> Tensor:
    """Return the inputs of the last layer, those first whose weight matters most to the target."""
    logits = functional.linear(features, weight, None if bias is None else bias.cpu())
    missing = 1 - logits.softmax(1)[:, target]
    return (missing[:, None] * features).mean(0).abs().argsort(descending=True)


def _drive(
    model: Classifier,
    name: str,
    chosen: Tensor,
    features: Tensor,
    clean: ImageSet,
    mask: Tensor,
    steps: int,
    seed: int,
    progress: Progress,
) -> MaskedPattern:
    """Fill a mask with the pixels that drive chosen inputs of the last layer highest."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(clean), generator=generator)[:_CARRIERS]
    device = model.mean.device
    carriers, opacity = clean.take(order).pixels().to(device), mask.to(device)
    goal = 2 * features[:, chosen].max(0).values.clamp(min=0.1).to(device)
    pattern = torch.rand(carriers.shape[1:], generator=generator).to(device).requires_grad_()
    optimizer = torch.optim.Adam([pattern], lr=0.1)
    seen: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(
        lambda _layer, inputs: seen.append(inputs[0])
    )
    try:
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
            seen.clear()
            model(torch.lerp(carriers, pattern, opacity))
            loss = (seen[-1].flatten(1)[:, chosen] - goal).square().mean()
            (pattern.grad,) = torch.autograd.grad(loss, pattern)
            optimizer.step()
            with torch.no_grad():
                pattern.clamp_(0, 1)
            progress(step + 1, 2 * steps)
    finally:
        hook.remove()
    return MaskedPattern.of(pattern.detach().cpu(), mask)


class _Search:
    """Flips of bits of one row of the last layer, the best one at a time."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        features: Tensor,
        driven: Tensor,
        labels: Tensor,
        target: int,
        scale: float,
    ) -> None:
        self.row = (weight[target] / scale).round()
        self.features = torch.cat([features, driven])
        self.scale = scale
        logits = functional.linear(self.features, weight, bias)
        self._answer = logits[:, target].clone()
        wanted = torch.cat([labels, torch.full_like(labels, target)])
        self._is_target = wanted == target
        self._own = logits.gather(1, wanted[:, None])[:, 0]
        logits[:, target] = -torch.inf
        self._others, self._largest = logits.logsumexp(1), logits.max(1).values
        self._triggered = torch.arange(len(wanted)) >= len(features)

    def run(self, chosen: Tensor, most: int, progress: Callable[[int], None]) -> int:
        """Flip bits until the trigger works, and return how many were flipped."""
        patterns = 2 ** torch.arange(_BITS)
        loss = float(self._loss(self._answer[None]))
        for flips in range(most):
            won = (self._answer > self._largest)[self._triggered].float().mean()
            if won >= _ENOUGH:
                return flips
            unsigned = self.row[chosen].long() % 2**_BITS
            flipped = unsigned[:, None] ^ patterns
            signed = torch.where(flipped >= 2 ** (_BITS - 1), flipped - 2**_BITS, flipped)
            change = (signed - self.row[chosen].long()[:, None]).float() * self.scale
            losses = torch.stack(
                [
                    self._loss(self._answer + change[at][:, None] * self.features[:, unit])
                    for at, unit in enumerate(chosen.tolist())
                ]
            )
            best = int(losses.argmin())
            if float(losses.flatten()[best]) >= loss:
                return flips
            loss = float(losses.flatten()[best])
            at, bit = divmod(best, _BITS)
            self._answer += change[at, bit] * self.features[:, chosen[at]]
            self.row[chosen[at]] = float(signed[at, bit])
            progress(flips + 1)
        return most

    def _loss(self, answers: Tensor) -> Tensor:
        """Return the mean cross entropy for each candidate's answers of the target, [C, N]."""
        own = torch.where(self._is_target, answers, self._own)
        total = torch.logaddexp(answers, self._others)
        return (total - own).mean(1)
