"""Adversarial neuron pruning (Wu and Wang, 2021)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from molehunt.defences._repair import Repaired, longest_prefix, split_for_repair
from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.training import clean_accuracy


def prune_sensitive_neurons(
    model: Classifier,
    clean: ImageSet,
    *,
    steps: int = 200,
    size: float = 0.4,
    trade: float = 0.2,
    lr: float = 0.2,
    threshold: float = 0.2,
    max_loss: float = 0.04,
    seed: int = 0,
    progress: Progress = silent,
) -> Repaired:
    """Prune channels whose small changes make a model err (ANP).

    Each channel has a mask in [0, 1]. Each step first finds the signs of changes of the
    channels' weights and biases, `size` of them, that raise the loss most; then the masks
    learn to keep the loss low with and without the changes. Channels whose mask ends under
    `threshold` are silenced, the smallest mask first, as long as the accuracy on held-out images
    falls by at most `max_loss`. Nothing is trained.

    Parameters
    ----------
    model, clean, seed, progress
        As in `RepairMethod`.
    steps : int
        Of 128 images; 2,000 in the paper.
    size : float
        Largest relative change of a channel's weights and bias.
    trade : float
        Share of the plain loss; the rest is of the loss under the changes.
    lr : float
        Of the masks, SGD with momentum 0.9.
    threshold : float
    max_loss : float
        In [0, 1). The paper has no such limit; a small network has no channels to spare.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `RepairMethod`; also if the model has no convolution.

    Notes
    -----
    The masks act on batch normalisation where there is any, as in the authors' code, and on
    convolutions elsewhere.

    References
    ----------
    Wu, Wang: Adversarial Neuron Pruning Purifies Backdoored Deep Models, NeurIPS 2021.

    Examples
    --------
    >>> from molehunt.defences import prune_sensitive_neurons
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> prune_sensitive_neurons(model, digits, steps=2).done
    'silenced 0 of 12 channels'
    """
    known, held_out = split_for_repair(model, clean)
    repaired = copy.deepcopy(model).freeze()
    layers = _masked_layers(repaired)
    device = model.mean.device
    masks = {name: torch.ones(len(layers[name].weight), device=device) for name in layers}
    for mask in masks.values():
        mask.requires_grad_(True)
    optimizer = torch.optim.SGD([*masks.values()], lr, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        batch = known.sample(min(128, len(known)), generator)
        pixels, labels = batch.pixels().to(device), batch.labels.to(device)

        def loss(
            changes: dict[str, Tensor] | None, pixels: Tensor = pixels, labels: Tensor = labels
        ) -> Tensor:
            weights = _scaled(layers, masks, changes)
            return functional.cross_entropy(functional_call(repaired, weights, (pixels,)), labels)

        worst = {
            name: size * torch.sign(torch.rand(2, len(mask), generator=generator) - 0.5).to(device)
            for name, mask in masks.items()
        }
        for change in worst.values():
            change.requires_grad_(True)
        uphill = torch.autograd.grad(loss(worst), [*worst.values()])
        worst = {name: size * slope.sign() for name, slope in zip(worst, uphill, strict=True)}
        optimizer.zero_grad()
        total = trade * loss(None) + (1 - trade) * loss(worst)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            for mask in masks.values():
                mask.clamp_(0, 1)
        progress(step + 1, steps)
    before = clean_accuracy(model, held_out)
    order = sorted(
        (float(value), name, channel)
        for name, mask in masks.items()
        for channel, value in enumerate(mask.tolist())
        if value < threshold
    )

    def silence(count: int) -> Classifier:
        trial = copy.deepcopy(model).freeze()
        with torch.no_grad():
            for _, name, channel in order[:count]:
                layer = trial.get_submodule(name)
                for tensor in (layer.weight, layer.bias):
                    if isinstance(tensor, Tensor):
                        tensor[channel] = 0
        return trial

    silenced = longest_prefix(
        len(order), lambda count: clean_accuracy(silence(count), held_out) >= before - max_loss
    )
    repaired = silence(silenced)
    channels = sum(len(mask) for mask in masks.values())
    return Repaired(
        repaired,
        f"silenced {silenced} of {channels} channels",
        (before, clean_accuracy(repaired, held_out)),
    )


def _masked_layers(model: Classifier) -> dict[str, nn.Conv2d | nn.BatchNorm2d]:
    layers = dict(model.named_modules())
    normal = {n: m for n, m in layers.items() if isinstance(m, nn.BatchNorm2d) and m.affine}
    if normal:
        return dict(normal)
    convolutions = {n: m for n, m in layers.items() if isinstance(m, nn.Conv2d)}
    if not convolutions:
        raise UnsuitableSubjectError(mismatch("layers of the model", "a convolution", "none"))
    return dict(convolutions)


def _scaled(
    layers: dict[str, nn.Conv2d | nn.BatchNorm2d],
    masks: dict[str, Tensor],
    changes: dict[str, Tensor] | None,
) -> dict[str, Tensor]:
    """Return the layers' weights times mask + change, and their biases times 1 + change."""
    scaled: dict[str, Tensor] = {}
    for name, layer in layers.items():
        change = changes[name] if changes else torch.zeros(2, 1, device=masks[name].device)
        factor = masks[name] + change[0]
        scaled[f"{name}.weight"] = layer.weight * factor.view(-1, *[1] * (layer.weight.ndim - 1))
        if layer.bias is not None:
            scaled[f"{name}.bias"] = layer.bias * (1 + change[1])
    return scaled
