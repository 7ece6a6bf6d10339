"""Batch normalisation that has become part of the convolutions before it."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from molehunt.networks._classifier import Classifier
from molehunt.networks._conv_stack import ConvStack


def has_batch_norm(network: nn.Module) -> bool:
    """Tell whether a network normalises by the batch while it learns."""
    return any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in network.modules())


def fold_batch_norm(model: Classifier) -> Classifier:
    """Return a model for evaluation whose batch normalisation is in its convolutions' weights.

    A copy with the same answers up to rounding, or the model itself where no convolution is
    followed by one in a sequence.
    """
    if not any(_normalised(part) for part in _sequences(model)):
        return model
    model = copy.deepcopy(model).eval()
    for part in _sequences(model):
        for number in _normalised(part):
            conv, norm = part[number], part[number + 1]
            part[number] = fuse_conv_bn_eval(conv, norm)  # type: ignore[arg-type, type-var]
            part[number + 1] = nn.Identity()
    return model


def _sequences(model: nn.Module) -> list[nn.Sequential]:
    # Another subclass may run its members in another order.
    known = (nn.Sequential, ConvStack)
    return [p for p in model.modules() if isinstance(p, nn.Sequential) and type(p) in known]


def _normalised(sequence: nn.Sequential) -> list[int]:
    """Return which members are convolutions with batch normalisation after them."""
    return [
        number
        for number, (conv, norm) in enumerate(pairwise(sequence))
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats
    ]
