"""Interval bounds of a network: what its logits can be while every pixel stays in its interval.

Gowal et al., "On the effectiveness of interval bound propagation for training verifiably
robust models" (2018), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.defences._bounded_network import BoundedNetwork
from molehunt.defences._operations import Affine, Interval, MaxPool, Relu

# From the place of a value, and all intervals before it, to bounds that are no looser.
Refine = Callable[[int, Sequence[Interval]], Interval]


def pixel_box(pixels: Tensor, epsilon: float) -> Interval:
    """Return the images [N, C, H, W] that differ by at most `epsilon` a pixel, within [0, 1].

    Examples
    --------
    >>> pixel_box(torch.tensor([0.0, 0.5, 1.0]), 0.25)
    Interval(lower=tensor([0.0000, 0.2500, 0.7500]), upper=tensor([0.2500, 0.7500, 1.0000]))
    """
    return Interval((pixels - epsilon).clamp(0, 1), (pixels + epsilon).clamp(0, 1))


def interval_bounds(
    network: BoundedNetwork, box: Interval, refine: Refine | None = None
) -> list[Interval]:
    """Return bounds of the pixels and of every step's value, in order.

    Parameters
    ----------
    network : BoundedNetwork
    box : Interval
        Of the pixels, [N, C, H, W] each.
    refine : callable, optional
        Called for values that go into an operation that is not affine.
    """
    curved = {
        source
        for step in network.steps
        if isinstance(step.operation, Relu | MaxPool)
        for source in step.sources
    }
    bounds = [box]
    for step in network.steps:
        bounds.append(step.operation.interval(*(bounds[each] for each in step.sources)))
        if refine is not None and len(bounds) - 1 in curved:
            bounds[-1] = refine(len(bounds) - 1, bounds)
    return bounds


def margins_of(labels: Tensor, num_classes: int) -> Tensor:
    """Return the margins of labels [N] over each class as functions of logits: [K * N, K].

    That over the label itself is 0.
    """
    own = functional.one_hot(labels, num_classes).float()
    others = torch.eye(num_classes, device=labels.device)
    return (own[None] - others[:, None]).flatten(0, 1)


def least_by_intervals(
    network: BoundedNetwork, bounds: Sequence[Interval], coefficients: Tensor
) -> Tensor:
    """Return lower bounds [M] of linear functions [M, K] of the logits.

    They go through the last layer where that is affine (the paper's elision of it), which
    is tighter than its own interval.
    """
    last = network.steps[-1]
    if not isinstance(last.operation, Affine):
        return bounds[-1].least(coefficients)
    (pulled,), constants = last.operation.pull_back(coefficients)
    return bounds[last.sources[0]].least(pulled) + constants
