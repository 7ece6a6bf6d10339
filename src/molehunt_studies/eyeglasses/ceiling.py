"""What no attack can pass: impersonation of a linear classifier as a linear program."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from molehunt.images import ImageSet
from molehunt.networks import Classifier


def is_linear(model: Classifier) -> bool:
    """Tell whether a network is softmax regression."""
    return _last(model) is not None


def can_impersonate(
    model: Classifier, photographs: ImageSet, targets: Tensor, mask: Tensor
) -> Tensor:
    """Tell for which photographs any pattern in the mask gives the target the largest logit.

    The least margin of the target's logit over the others is concave in the pixels, so its
    maximum over pixels in [0, 1] inside the mask is a linear program. What it says is exact up
    to the rounding of pixels to 8 bits.

    Parameters
    ----------
    model : Classifier
        Softmax regression.
    photographs : ImageSet
    targets : Tensor of int64, shape [N]
    mask : Tensor of bool, shape [H, W]

    Returns
    -------
    Tensor of bool, shape [N]
    """
    layer = _last(model)
    assert layer is not None, "a linear classifier"
    std, mean = float(model.std), float(model.mean)
    weights = layer.weight.detach().double().numpy() / std
    bias = layer.bias.detach().double().numpy() - weights.sum(1) * mean
    inside = mask.flatten().numpy()
    free = int(inside.sum())
    possible = []
    for pixels, target in zip(
        photographs.pixels().flatten(1).double().numpy(), targets.tolist(), strict=True
    ):
        fixed = weights[:, ~inside] @ pixels[~inside] + bias
        others = np.arange(len(bias)) != target
        # Maximise m with m <= margin over each other class.
        rows = np.hstack(
            [(weights[:, inside] - weights[target, inside])[others], np.ones((others.sum(), 1))]
        )
        found = linprog(
            np.append(np.zeros(free), -1.0),
            A_ub=rows,
            b_ub=(fixed[target] - fixed)[others],
            bounds=[(0, 1)] * free + [(None, None)],
        )
        possible.append(-found.fun > 0)
    return torch.tensor(possible)


def _last(model: Classifier) -> nn.Linear | None:
    """Return the one layer with weights, if it is linear and there is no other."""
    layers = [part for part in model.network.modules() if not list(part.children())]
    layers = [part for part in layers if not isinstance(part, nn.Flatten)]
    only = layers[0] if len(layers) == 1 else None
    return only if isinstance(only, nn.Linear) else None
