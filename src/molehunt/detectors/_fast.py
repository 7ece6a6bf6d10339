"""Many passes through one frozen model, as fast as the hardware lets them be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from molehunt.errors import UnsuitableSubjectError, refused
from molehunt.networks import Classifier, Stack
from molehunt.training import bfloat16_helps

Answers = Callable[[Tensor], Tensor]


def fast_answers(model: Classifier, device: torch.device) -> Answers:
    """Return a function from pixels [N, C, H, W] in [0, 1] to float32 logits [N, K].

    Gradients flow to the pixels, none to the weights. Tensors lie with channels last, batch
    normalisation that follows a convolution goes into its weights, and bfloat16 is used where
    it is faster: 2.7x on a small VGG on one core with AVX-512 bfloat16, where the largest
    margins changed by 2 %.
    """
    model = _folded(model.frozen())
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    half = bfloat16_helps(model, device)
    classes = model.card.num_classes

    def answers(pixels: Tensor) -> Tensor:
        inputs = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits: Tensor = model(inputs)
        if tuple(logits.shape) != (len(pixels), classes):
            shape = (len(pixels), classes)
            raise UnsuitableSubjectError(
                refused("shape of the model's answers", shape, tuple(logits.shape))
            )
        return logits.float()

    return answers


def _folded(model: Classifier) -> Classifier:
    """Return a frozen model whose batch normalisation is in its convolutions' weights.

    A copy, or the model itself where no convolution is followed by one in a sequence.
    """
    if not any(_normalised(part) for part in _sequences(model)):
        return model
    model = copy.deepcopy(model)
    for part in _sequences(model):
        for number in _normalised(part):
            conv, norm = part[number], part[number + 1]
            part[number] = fuse_conv_bn_eval(conv, norm)  # type: ignore[arg-type, type-var]
            part[number + 1] = nn.Identity()
    return model


def _sequences(model: nn.Module) -> list[nn.Sequential]:
    # Another subclass may run its members in another order.
    known = (nn.Sequential, Stack)
    return [p for p in model.modules() if isinstance(p, nn.Sequential) and type(p) in known]


def _normalised(sequence: nn.Sequential) -> list[int]:
    """Return which members are convolutions with batch normalisation after them."""
    return [
        number
        for number, (conv, norm) in enumerate(pairwise(sequence))
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats
    ]
