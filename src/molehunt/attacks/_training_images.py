"""Images that stand for training data: reverse-engineered from a model's own answers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.attacks._lessons import mean_and_deviation
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, InputContract, fast_logits
from molehunt.progress import Progress, silent


def reverse_images(
    model: Classifier,
    per_class: int,
    *,
    denoising: float = 0.02,
    softness: float = 4.0,
    steps: int = 100,
    lr: float = 0.1,
    batch_size: int = 100,
    seed: int = 0,
    progress: Progress = silent,
) -> ImageSet:
    """Reverse-engineer images of every class from a model (Liu et al. 2018, Algorithm 2).

    No image is used. From coarse noise of the mean and deviation that the model's card states,
    each is changed by gradient descent until the model gives it its class; a prior keeps
    neighbouring pixels alike, as the paper's denoising function does.

    Parameters
    ----------
    model : Classifier
        With gradients. It is frozen.
    per_class : int
        Images of each class, from starts of their own.
    denoising : float
        Weight of the prior, the summed differences of neighbouring pixels; 0 for none.
    softness : float
        By which the logits are divided: over 1 an image goes on changing when its class is
        sure, and becomes as clear to the model as a training image.
    steps : int
    lr : float
        Of Adam, in pixel values; falls linearly to 0.
    batch_size : int
        Images at once.
    seed : int
    progress : callable
        Called with the images that are done and their number.

    Returns
    -------
    ImageSet
        With the class that each was made for as its label, and the model's class names.

    Raises
    ------
    InvalidRequestError
        If a number is out of range.

    Notes
    -----
    The paper descends on the squared distance of the class's confidence from 1, with a
    denoising step after each pass; here it is cross entropy with total variation as a term of
    the loss, whose gradient does not vanish at noise.
    """
    for name, value in (("per_class", per_class), ("steps", steps), ("batch_size", batch_size)):
        if value < 1:
            raise InvalidRequestError(mismatch(name, "1 or more", value))
    if not denoising >= 0:
        raise InvalidRequestError(mismatch("denoising", "0 or more", denoising))
    if not softness > 0:
        raise InvalidRequestError(mismatch("softness", "a number over 0", softness))
    card, device = model.card, model.mean.device
    labels = torch.arange(card.num_classes).repeat_interleave(per_class)
    generator = torch.Generator().manual_seed(seed)
    images = _coarse_noise(len(labels), card, generator)
    logits_of = fast_logits(model, device)
    made = []
    for start, classes in zip(images.split(batch_size), labels.split(batch_size), strict=True):  # type: ignore[no-untyped-call]
        pixels = start.to(device).requires_grad_()
        optimizer = torch.optim.Adam([pixels], lr=lr)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
            soft = logits_of(pixels) / softness
            loss = functional.cross_entropy(soft, classes.to(device), reduction="sum")
            if denoising:
                loss = loss + denoising * variation(pixels).sum()
            (pixels.grad,) = torch.autograd.grad(loss, pixels)
            optimizer.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
        made.append(pixels.detach().mul(255).round().to(torch.uint8).cpu())
        progress(sum(map(len, made)), len(labels))
    return ImageSet(torch.cat(made), labels, card.class_names)


_GRAINS = 7  # of the noise at the start, along a side


def _coarse_noise(count: int, card: InputContract, generator: torch.Generator) -> Tensor:
    """Return images [count, C, H, W] in [0, 1] with the contract's mean and deviation."""
    channels, height, width = card.input_shape
    mean, deviation = mean_and_deviation(card)
    grains = torch.randn(count, channels, _GRAINS, _GRAINS, generator=generator)
    noise = functional.interpolate(grains, (height, width), mode="bicubic")
    noise /= noise.flatten(2).std(2)[..., None, None]
    return (mean + deviation * noise).clamp(0, 1)


def variation(pixels: Tensor) -> Tensor:
    """Return the total variation [N] of images [N, C, H, W]: neighbours' absolute differences."""
    down = (pixels[:, :, 1:] - pixels[:, :, :-1]).abs().flatten(1).sum(1)
    across = (pixels[..., 1:] - pixels[..., :-1]).abs().flatten(1).sum(1)
    return down + across
