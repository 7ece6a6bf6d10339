"""Fast minimum-norm attacks of foolbox with the projections that it gets wrong."""

from __future__ import annotations

import torch
from eagerpy.astensor import astensor
from eagerpy.tensor.tensor import Tensor
from foolbox.attacks.fast_minimum_norm import L0FMNAttack, L2FMNAttack


class L2Minimum(L2FMNAttack):
    """FMN in L2; foolbox 3.3.4 divides a norm by itself and so never projects."""

    def project(self, x: Tensor, x0: Tensor, epsilon: Tensor) -> Tensor:
        """Return points of the balls around `x0` in the direction of `x`, as pixels.

        Were pixels only clipped afterwards, the change would stay too short for ever.
        """
        change, radius = x.raw.clamp(0, 1) - x0.raw, epsilon.raw.view(-1, 1, 1, 1)
        size = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1).clamp_min(1e-12)
        projected: Tensor = x0 + astensor(change * (radius / size).clamp_max(1))
        return projected


class L0Minimum(L0FMNAttack):
    """FMN in L0 over pixels; foolbox counts channels, and reads past the end of large radii."""

    def project(self, x: Tensor, x0: Tensor, epsilon: Tensor) -> Tensor:
        """Return `x` with its `epsilon` most changed pixels, and `x0` elsewhere."""
        change = (x - x0).raw
        amount = change.norm(dim=1).flatten(1)
        rank = amount.argsort(1, descending=True).argsort(1)
        kept = rank < epsilon.raw.view(-1, 1)
        shape = (len(change), 1, *change.shape[2:])
        projected: Tensor = x0 + astensor(torch.where(kept.view(shape), change, 0.0))
        return projected
