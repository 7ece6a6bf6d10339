"""Optimisers over a matrix of weights, a row a model, each row with its own rates.

torch's own take one learning rate for a whole tensor. What each row gets here is what
torch's optimiser of that name would do to that model.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class StackedOptimizer(Protocol):
    """Changes rows of weights by their gradients, in place."""

    def step(
        self, rows: Tensor, gradients: Tensor, lr: Tensor, momentum: Tensor, decay: Tensor
    ) -> None:
        """Do one step on the first m rows, [m, P], with rates [m, 1] of their own.

        Rows that were left out once must stay out.
        """


class StackedSgd:
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al., 2013)."""

    def __init__(self, weights: Tensor) -> None:
        self.velocity = torch.zeros_like(weights)

    def step(
        self, rows: Tensor, gradients: Tensor, lr: Tensor, momentum: Tensor, decay: Tensor
    ) -> None:
        """Do one step; weight decay is a part of the gradient."""
        velocity = self.velocity[: len(rows)]
        gradients = gradients.addcmul(rows, decay)
        velocity.mul_(momentum).add_(gradients)
        rows.sub_(lr * gradients.addcmul(velocity, momentum))


class StackedAdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), torch's defaults."""

    beta2, epsilon = 0.999, 1e-8

    def __init__(self, weights: Tensor) -> None:
        self.steps = 0
        self.mean = torch.zeros_like(weights)
        self.square = torch.zeros_like(weights)

    def step(
        self, rows: Tensor, gradients: Tensor, lr: Tensor, momentum: Tensor, decay: Tensor
    ) -> None:
        """Do one step; `momentum` is the first beta."""
        self.steps += 1
        mean, square = self.mean[: len(rows)], self.square[: len(rows)]
        mean.lerp_(gradients, 1 - momentum)
        square.mul_(self.beta2).addcmul_(gradients, gradients, value=1 - self.beta2)
        root = (1 - self.beta2**self.steps) ** 0.5
        size = (square.sqrt() / root).add_(self.epsilon)
        rows.mul_(1 - lr * decay)
        rows.sub_(lr / (1 - momentum**self.steps) * mean / size)
