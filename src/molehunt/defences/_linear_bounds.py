"""Linear bounds of a network: CROWN, and CROWN from interval bounds.

Zhang et al., "Efficient neural network robustness certification with general activation
functions" (2018), and "Towards stable and efficient training of verifiably robust neural
networks" (2020), section 3.2. A linear function of the logits is pulled back, step by step, to
one of the pixels that is never above it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molehunt.defences._bounded_network import BoundedNetwork
from molehunt.defences._interval_bounds import interval_bounds
from molehunt.defences._operations import Affine, BatchNorm, Interval, Normalise, Reshape

# Numbers of all coefficients of a layer at once: 128 MiB.
_MOST_COEFFICIENTS = 2**25


def least_by_lines(
    network: BoundedNetwork,
    bounds: Sequence[Interval],
    coefficients: Tensor,
    place: int | None = None,
) -> Tensor:
    """Return lower bounds [M] of linear functions [M, ...] of a value.

    Parameters
    ----------
    network : BoundedNetwork
    bounds : sequence of Interval
        Of the pixels and of every value before `place`.
    coefficients : Tensor [M, ...]
    place : int, optional
        Of the value; the logits when not given.
    """
    place = len(network.steps) if place is None else place
    waiting = {place: coefficients}
    constants = coefficients.new_zeros(len(coefficients))
    for number in range(place, 0, -1):
        if number not in waiting:
            continue
        step = network.steps[number - 1]
        inputs = [bounds[each] for each in step.sources]
        pulled, more = step.operation.pull_back(waiting.pop(number), *inputs)
        constants = constants + more
        for source, part in zip(step.sources, pulled, strict=True):
            waiting[source] = waiting[source] + part if source in waiting else part
    return bounds[0].least(waiting[0]) + constants


def crown_bounds(network: BoundedNetwork, box: Interval) -> list[Interval]:
    """Return bounds as `interval_bounds` does, each value's pulled back to the pixels.

    Only elements whose sign the intervals leave open are pulled back: those of any image of
    the batch, so that batches of a few similar images are fast.
    """

    exact = _exact_places(network)

    def refine(place: int, bounds: Sequence[Interval]) -> Interval:
        interval = bounds[place]
        lower, upper = (each.flatten(1).clone() for each in interval)
        open_places = ((lower < 0) & (upper > 0)).any(0).nonzero().flatten()
        if place in exact or not len(open_places):
            return interval
        largest = max(each.lower[0].numel() for each in bounds)
        most = max(1, _MOST_COEFFICIENTS // (2 * largest * len(lower)))
        for chosen in torch.split(open_places, most):
            picks = torch.zeros(len(chosen), len(lower), lower.shape[1], device=lower.device)
            picks[torch.arange(len(chosen)), :, chosen] = 1
            picks = picks.view(-1, *interval.lower.shape[1:])
            both = least_by_lines(network, bounds, torch.cat([picks, -picks]), place)
            least, most = both.view(2, len(chosen), -1).transpose(1, 2)
            lower[:, chosen] = torch.maximum(lower[:, chosen], least)
            upper[:, chosen] = torch.minimum(upper[:, chosen], -most)
        return Interval(lower.view_as(interval.lower), upper.view_as(interval.upper))

    return interval_bounds(network, box, refine)


def _exact_places(network: BoundedNetwork) -> set[int]:
    """Return the values whose intervals are exact: one layer that mixes pixels, or none."""
    mixed = {0: 0.0}
    for place, step in enumerate(network.steps, 1):
        adds = 0.0 if isinstance(step.operation, Normalise | BatchNorm | Reshape) else 1.0
        adds = adds if isinstance(step.operation, Affine) else torch.inf
        mixed[place] = max(mixed[each] for each in step.sources) + adds
    return {place for place, count in mixed.items() if count <= 1}
